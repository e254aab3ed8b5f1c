//! Lengths that are wrong, ambiguous or absent.

use tollgate_testing::Reply;

use crate::play::play_all;
use crate::script::{Script, does, says};

fn length(value: &str, rest: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {value}\r\n\r\n{rest}")
}

fn head(headers: &str, rest: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n{rest}")
}

pub(crate) fn scripts() -> Vec<Script> {
    let mut all = invalid();
    all.extend(ambiguous());
    all.extend(beyond_the_end());
    all
}

fn invalid() -> Vec<Script> {
    vec![
        says("a negative length", length("-1", "body")).not_http(),
        says("a length with a plus", length("+4", "body")).not_http(),
        says("a length in hexadecimal", length("0x4", "body")).not_http(),
        says("an empty length", length("", "body")).not_http(),
        says("a length in words", length("four", "body")).not_http(),
        says("a length with a fraction", length("4.0", "body")).not_http(),
        says("a length and a half", length("4 4", "body")).not_http(),
        says(
            "a length beyond 64 bits",
            length("18446744073709551620", "body"),
        )
        .not_http(),
        says(
            "the largest length of 64 bits",
            length("18446744073709551615", "body"),
        )
        .not_http(),
        does(
            "a huge length and four bytes",
            Reply::raw(length("9223372036854775807", "body")).close(),
        )
        .breaks(),
    ]
}

fn ambiguous() -> Vec<Script> {
    let differing = "content-length: 4\r\ncontent-length: 5";
    let chunks_and = "content-length: 2\r\ntransfer-encoding: chunked";
    let chunks = "4\r\nbody\r\n0\r\n\r\n";
    vec![
        says("two lengths that differ", head(differing, "body!")).not_http(),
        says("a list of lengths that differ", length("4, 5", "body!")).not_http(),
        says("a list that ends with a comma", length("4,", "body")).not_http(),
        says("a list of equal lengths", length("4, 4", "body"))
            .answers("body")
            .kept(),
        says(
            "two equal lengths",
            head("content-length: 4\r\ncontent-length: 4", "body"),
        )
        .answers("body")
        .kept(),
        // Another hop may have read it by its length: it is not used again.
        says("a length beside chunks", head(chunks_and, chunks)).answers("body"),
        says(
            "chunks beside a length",
            head("transfer-encoding: chunked\r\ncontent-length: 40", chunks),
        )
        .answers("body"),
        says(
            "an invalid length beside chunks",
            head("transfer-encoding: chunked\r\ncontent-length: -1", chunks),
        )
        .answers("body"),
        does(
            "an encoding that is not chunked",
            Reply::raw(head("transfer-encoding: gzip", "body")).close(),
        )
        .answers("body"),
        does(
            "chunked, but not last",
            Reply::raw(head("transfer-encoding: chunked, gzip", "body")).close(),
        )
        .answers("body"),
        does(
            "neither a length nor chunks",
            Reply::raw(head("x: y", "body")).close(),
        )
        .answers("body"),
        says(
            "chunks from HTTP/1.0",
            format!("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}"),
        )
        .not_http(),
        says(
            "a kept connection of HTTP/1.0",
            "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 4\r\n\r\nbody",
        )
        .answers("body")
        .kept(),
        says(
            "a connection of HTTP/1.0 that is not kept",
            "HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\nbody",
        )
        .answers("body"),
    ]
}

/// Whoever came next on such a connection would be answered with what is left over.
fn beyond_the_end() -> Vec<Script> {
    const EVIL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    vec![
        says(
            "a body longer than its length",
            length("4", "body and more"),
        )
        .answers("body"),
        says("two answers for one request", length("4", "body") + EVIL).answers("body"),
        says(
            "five answers for one request",
            length("4", "body") + &EVIL.repeat(4),
        )
        .answers("body"),
        says("a body where there is none", length("0", "body")).answers(""),
        says("a body to a HEAD", length("4", "body"))
            .to("HEAD")
            .answers(""),
        says(
            "chunks to a HEAD",
            head("transfer-encoding: chunked", "4\r\nevil\r\n0\r\n\r\n"),
        )
        .to("HEAD")
        .answers(""),
        says(
            "a body in a 204",
            "HTTP/1.1 204 No Content\r\ncontent-length: 4\r\n\r\nbody",
        )
        .answers_with(204, ""),
        says(
            "a body in a 304",
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 4\r\n\r\nbody",
        )
        .answers_with(304, ""),
        says(
            "an answer behind a 204",
            format!("HTTP/1.1 204 No Content\r\n\r\n{EVIL}"),
        )
        .answers_with(204, ""),
    ]
}

#[tokio::test]
async fn wrong_lengths_hurt_nobody_else() {
    play_all(scripts()).await;
}
