//! A 408 on an idle connection that comes in pieces (RFC 9110 section 15.5.9).

use std::time::Duration;

use crate::h1::OK;
use crate::script::Do::{self, Blocked, Reached, Settle};
use crate::script::Step::{self, Close, Head, Hold, Mark};
use crate::script::{Case, case, get, post, says};

const HOUR: Duration = Duration::from_secs(3600);
const TIMED_OUT: &str =
    "HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const CLOSES: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
const STRAY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
/// Where the status has come.
const TOLD: usize = "HTTP/1.1 408".len();

/// A server that answers, and then says something in two pieces, the second when the client has seen the
/// first; a second connection that serves two calls.
fn says_in_two(said: &'static str, cut: usize) -> [Vec<Step>; 2] {
    let (first, second) = said.split_at(cut);
    let mut steps = vec![Head, says(OK), Step::Reached(1)];
    steps.extend([
        says(first),
        Mark,
        Step::Reached(2),
        says(second),
        Close,
        Mark,
    ]);
    [steps, vec![Head, says(OK), Head, says(OK)]]
}

/// The same with a FIN in the place of the second piece.
fn says_a_part(cut: usize) -> [Vec<Step>; 2] {
    let [mut steps, then] = says_in_two(TIMED_OUT, cut);
    steps.retain(|step| !matches!(step, Step::Says(said) if TIMED_OUT[cut..] == *said));
    [steps, then]
}

/// The client sees both pieces, and makes two calls.
fn sees_both() -> Vec<Do> {
    let first = [get(), Do::Mark, Reached(1), Settle];
    let second = [Do::Mark, Reached(2), Settle, post(3), get()];
    first.into_iter().chain(second).collect()
}

/// Quarantine is on: two calls on one connection say that the bytes were no evidence against the origin.
pub(crate) fn cases() -> Vec<Case> {
    let quarantines = |case: Case| case.options(|layer| layer.quarantine(HOUR));
    let mut cases = Vec::new();
    for cut in 1..TIMED_OUT.len() {
        let name = format!("a 408 cut behind {cut} bytes");
        let case = case(
            name.leak(),
            "9110 15.5.9",
            "a goodbye: the next calls on a new one",
        );
        let case = case.server(says_in_two(TIMED_OUT, cut)).client(sees_both());
        cases.push(case.right(|seen| seen.answers() == ["200 ok"; 3] && seen.connections() == 2));
    }
    for cut in 1..TOLD {
        let name = format!("another answer cut behind {cut} bytes");
        let case = case(
            name.leak(),
            "9112 9.2",
            "evidence: no connection is used again for a while",
        );
        let case = case.server(says_in_two(STRAY, cut)).client(sees_both());
        cases.push(case.right(|seen| seen.answers() == ["200 ok"; 3] && seen.connections() == 3));
        let name = format!("a call that meets {cut} bytes of a 408");
        let case = case_met(name.leak(), TIMED_OUT, cut);
        cases.push(case);
    }
    for cut in 1..TOLD {
        let name = format!("{cut} bytes of a 408 and a FIN");
        let case = case(
            name.leak(),
            "9112 9.2",
            "evidence: no connection is used again for a while",
        );
        let case = case.server(says_a_part(cut)).client(sees_both());
        cases.push(case.right(|seen| seen.answers() == ["200 ok"; 3] && seen.connections() == 3));
    }
    cases
        .into_iter()
        .map(quarantines)
        .map(Case::ours_alone)
        .collect()
}

/// A connection that has served none: its demand was met otherwise while it was dialled. Below TLS, whose
/// handshake can be held.
pub(crate) fn unused() -> Vec<Case> {
    let says_of = |pieces: &[&'static str]| {
        let mut steps = vec![Step::Accept(2), Mark, Step::Reached(3)];
        steps.extend(pieces.iter().map(|piece| says(*piece)));
        steps.extend([Close, Mark]);
        steps
    };
    let case = |name, said: Vec<Step>| {
        case(
            name,
            "9110 15.5.9",
            "a goodbye: the next calls on a new one",
        )
        .server([
            vec![
                Head,
                Mark,
                Step::Reached(1),
                says(OK),
                Head,
                says(CLOSES),
                Mark,
            ],
            said,
            vec![Head, says(OK), Head, says(OK)],
        ])
        .client(vec![
            get().start(),
            Reached(1),
            get().start(),
            Reached(2),
            Do::Mark,
            Reached(3),
            Settle,
            Do::Mark,
            Reached(4),
            Settle,
            Do::Mark,
            Reached(5),
            Settle,
            post(3),
            get(),
        ])
        .cap(2)
        .options(|layer| layer.quarantine(HOUR))
        .right(|seen| seen.answers() == ["200 ok"; 4] && seen.connections() == 3)
        .over_tls()
    };
    let (first, second) = TIMED_OUT.split_at(7);
    vec![
        case(
            "a 408 on a connection that was never used",
            says_of(&[TIMED_OUT]),
        ),
        case("the same in two pieces", says_of(&[first, second])),
        case("a FIN on a connection that was never used", says_of(&[])),
    ]
}

/// The reactor has not seen the first piece when the call comes, and the second never does.
fn case_met(name: &'static str, said: &'static str, cut: usize) -> Case {
    let first = vec![
        Head,
        says(OK),
        Step::Reached(1),
        says(&said[..cut]),
        Mark,
        Hold,
    ];
    case(name, "9112 9.2", "sent on a new one")
        .server([first, vec![Head, says(OK), Head, says(OK)]])
        .client(vec![get(), Do::Mark, Blocked(1), post(3), get()])
        .right(|seen| seen.answers() == ["200 ok"; 3] && seen.connections() == 2)
}
