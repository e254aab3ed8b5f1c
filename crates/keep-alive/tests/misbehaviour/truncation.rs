//! Answers that end too early.

use tollgate_testing::Reply;

use crate::play::{play_all, play_each};
use crate::script::{Script, does};

const SIZED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";

fn cut(whole: &'static str, behind: &str) -> Reply {
    let end = whole.find(behind).expect("it is there") + behind.len();
    Reply::raw(&whole[..end])
}

pub(crate) fn scripts() -> Vec<Script> {
    let mut all = by_an_end();
    all.extend(by_a_reset());
    all.extend(uploads());
    all
}

fn by_an_end() -> Vec<Script> {
    vec![
        does("no answer, an end", Reply::nothing().close()).closed_on(),
        does("one byte", cut(SIZED, "H").close()).closed_on(),
        does("half a status line", cut(SIZED, "HTTP/1.1 2").close()).closed_on(),
        does("a status line", cut(SIZED, "OK\r\n").close()).closed_on(),
        does("half a header", cut(SIZED, "content-").close()).closed_on(),
        does(
            "a head but for its last byte",
            cut(SIZED, "4\r\n\r").close(),
        )
        .closed_on(),
        does("a head and no body", cut(SIZED, "\r\n\r\n").close()).breaks(),
        does("half a body", cut(SIZED, "bo").close()).breaks(),
        does("half a chunk", cut(CHUNKED, "4\r\nbo").close()).breaks(),
        does("a chunk but for its line end", cut(CHUNKED, "body").close()).breaks(),
        does("an answer and an end", Reply::raw(SIZED).close())
            .answers("body")
            .closed_by_the_server(),
    ]
}

fn by_a_reset() -> Vec<Script> {
    let unsized_body = "HTTP/1.1 200 OK\r\n\r\nbody";
    vec![
        does("no answer, a reset", Reply::nothing().reset()).closed_on(),
        does(
            "half a head and a reset",
            paused(cut(SIZED, "content-")).reset(),
        )
        .closed_on(),
        does("half a body and a reset", paused(cut(SIZED, "bo")).reset()).breaks(),
        does(
            "half a chunk and a reset",
            paused(cut(CHUNKED, "bo")).reset(),
        )
        .breaks(),
        // An end would be the body's own.
        does(
            "a body without a length and a reset",
            paused(Reply::raw(unsized_body)).reset(),
        )
        .breaks(),
    ]
}

/// A reset takes along what the peer has not read: give it time to.
fn paused(reply: Reply) -> Reply {
    reply.delay(std::time::Duration::from_millis(100))
}

/// What is left of the upload must reach nobody.
fn uploads() -> Vec<Script> {
    const LARGE: usize = 8 << 20;
    vec![
        does(
            "an end in the middle of an upload",
            Reply::nothing().before_body().close(),
        )
        .uploading(LARGE)
        .closed_on(),
        does(
            "a reset in the middle of an upload",
            Reply::nothing().before_body().reset(),
        )
        .uploading(LARGE)
        .closed_on(),
    ]
}

#[tokio::test]
async fn truncated_answers_hurt_nobody_else() {
    play_all(scripts()).await;
}

#[tokio::test]
async fn a_truncated_answer_fails_at_every_byte() {
    let mut scripts = Vec::new();
    for whole in [SIZED, CHUNKED] {
        let head = whole.find("\r\n\r\n").unwrap() + 4;
        for end in 0..whole.len() {
            let script = does("cut", Reply::raw(&whole[..end]).close());
            scripts.push(if end < head {
                script.closed_on()
            } else {
                script.breaks()
            });
        }
    }
    assert_eq!(scripts.len(), SIZED.len() + CHUNKED.len());
    play_each(scripts).await;
}
