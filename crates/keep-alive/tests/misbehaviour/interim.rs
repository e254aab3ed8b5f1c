//! Interim responses: too many, at the wrong place, without an end.

use tollgate_testing::Reply;

use crate::play::play_all;
use crate::script::{Script, does, dripped, says};

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody";
const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n";
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

pub(crate) fn scripts() -> Vec<Script> {
    let mut all = harmless();
    all.extend(harmful());
    all
}

fn harmless() -> Vec<Script> {
    vec![
        says("a 100 that nobody waits for", format!("{CONTINUE}{ANSWER}"))
            .answers("body")
            .kept(),
        says("twenty hints", HINTS.repeat(20) + ANSWER)
            .answers("body")
            .kept(),
        says(
            "a status between 103 and 200 that nobody knows",
            format!("HTTP/1.1 199 Wait\r\n\r\n{ANSWER}"),
        )
        .answers("body")
        .kept(),
        does(
            "hints byte by byte",
            dripped(&format!("HTTP/1.1 103 E\r\na: b\r\n\r\n{ANSWER}")),
        )
        .answers("body")
        .kept(),
        does(
            "hints, a pause and the answer",
            Reply::raw(HINTS)
                .delay(std::time::Duration::from_millis(20))
                .write(ANSWER),
        )
        .answers("body")
        .kept(),
    ]
}

fn harmful() -> Vec<Script> {
    let unasked =
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: evil\r\n\r\n";
    vec![
        says("a flood of 100", CONTINUE.repeat(60_000)).not_http(),
        says("a flood of hints", HINTS.repeat(20_000)).not_http(),
        // Told as it came; the connection is no longer HTTP.
        says("a 101 that nobody asked for", unasked).answers_with(101, ""),
        says(
            "a 101 that nobody asked for, and an answer",
            format!("{unasked}{ANSWER}"),
        )
        .answers_with(101, ""),
        says("hints and nothing more", HINTS).cut_off(),
        says("a hundred and nothing more", CONTINUE).cut_off(),
        says("half a hint", "HTTP/1.1 103 Early Hints\r\nlink: <").cut_off(),
        does("hints and an end", Reply::raw(HINTS).close()).closed_on(),
        does("hints and a reset", Reply::raw(HINTS).reset()).closed_on(),
        // What follows a 1xx is the next head, whatever lengths it claims.
        says(
            "a 100 with a body",
            format!("HTTP/1.1 100 Continue\r\ncontent-length: 4\r\n\r\nevil{ANSWER}"),
        )
        .not_http(),
        says("a 100 behind the answer", format!("{ANSWER}{CONTINUE}")).answers("body"),
        says(
            "hints behind the answer",
            format!("{ANSWER}{HINTS}{ANSWER}"),
        )
        .answers("body"),
    ]
}

#[tokio::test]
async fn interim_responses_hurt_nobody_else() {
    play_all(scripts()).await;
}
