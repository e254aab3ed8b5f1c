//! Servers that keep still, or nearly so.

use std::time::Duration;

use tollgate_testing::upstream::Step;
use tollgate_testing::{Gate, Reply};

use crate::play::play_all;
use crate::script::{Script, does, says};

pub(crate) fn scripts() -> Vec<Script> {
    let shut = Reply::nothing().then(Step::Shutdown).hold();
    let shut_in_body = Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbo")
        .then(Step::Shutdown)
        .hold();
    vec![
        does("no answer at all", Reply::never()).cut_off(),
        says("silence after one byte", "H").cut_off(),
        says("silence in the status line", "HTTP/1.1 2").cut_off(),
        says("silence in the head", "HTTP/1.1 200 OK\r\ncontent-").cut_off(),
        says(
            "silence before the body",
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n",
        )
        .cut_off(),
        says(
            "silence in the body",
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbo",
        )
        .cut_off(),
        says(
            "silence between chunks",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n",
        )
        .cut_off(),
        says(
            "silence in a body without a length",
            "HTTP/1.1 200 OK\r\n\r\nbody",
        )
        .cut_off(),
        does("a head that drips", dripping("HTTP/1.1 200 OK\r\nx: ", "y")).cut_off(),
        does(
            "headers that drip",
            dripping("HTTP/1.1 200 OK\r\n", "x: y\r\n"),
        )
        .cut_off(),
        does("hints that drip", dripping("", "HTTP/1.1 103 E\r\n\r\n")).cut_off(),
        does(
            "a body that drips",
            dripping("HTTP/1.1 200 OK\r\ncontent-length: 4000\r\n\r\n", "y"),
        )
        .cut_off(),
        does(
            "chunks that drip",
            dripping(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                "1\r\ny\r\n",
            ),
        )
        .cut_off(),
        // A server that has said that it will write nothing more has ended the exchange.
        does("an end, but the socket stays", shut).closed_on(),
        does("an end in the body, but the socket stays", shut_in_body).breaks(),
        does(
            "an upload that nobody reads",
            Reply::nothing().before_body().wait(&Gate::new()),
        )
        .uploading(8 << 20)
        .cut_off(),
    ]
}

/// A start, and then a little at a time without end.
fn dripping(start: &'static str, drop: &'static str) -> Reply {
    (0..2000).fold(Reply::raw(start), |reply, _| {
        reply.delay(Duration::from_millis(5)).write(drop)
    })
}

#[tokio::test]
async fn silence_costs_one_call_until_its_deadline() {
    play_all(scripts()).await;
}
