//! Lengths that the request's body does not have.

use bytes::Bytes;
use http::Method;

use crate::h1::OK;
use crate::script::Step::{Head, ReadToEnd};
use crate::script::{Case, Do, Upload, call, case, get, post, says};

/// A POST that announces five bytes and has these chunks.
fn five(chunks: &[&'static str]) -> Do {
    let chunks = chunks
        .iter()
        .map(|chunk| Bytes::from_static(chunk.as_bytes()));
    call(Method::POST)
        .header("content-length", "5")
        .upload(Upload::Chunks(chunks.collect()))
}

#[rustfmt::skip]
pub(crate) fn cases() -> Vec<Case> {
    let refused = |seen: &crate::play::Seen| seen.answers()[0] == "InvalidRequest" && seen.bytes() == 0;
    vec![
        case("a GET announces 26 bytes and has none", "9110 8.6", "refused, nothing sent")
            .server([vec![Head, says(OK)]]).client(vec![get().header("content-length", "26")])
            .right(refused),
        case("a POST announces 5 bytes and has 10", "9110 8.6", "refused, nothing sent")
            .server([vec![Head, says(OK)]]).client(vec![post(10).header("content-length", "5")])
            .right(refused),
        case("a POST announces 10 bytes and has 5", "9110 8.6", "refused, nothing sent")
            .server([vec![Head, ReadToEnd]]).client(vec![post(5).header("content-length", "10")])
            .right(refused),
        case("a stream is longer than announced", "9112 6.3", "fails, the connection is not used again")
            .server([vec![Head, ReadToEnd], vec![Head, says(OK)]]).client(vec![five(&["he", "llo", "more"]), get()])
            .right(|seen| seen.answers() == ["Exchange", "200 ok"] && !seen.text(0).ends_with("hello")),
        case("a stream is longer, in one chunk", "9112 6.3", "fails, the connection is not used again")
            .server([vec![Head, ReadToEnd], vec![Head, says(OK)]]).client(vec![five(&["helloworld"]), get()])
            .right(|seen| seen.answers() == ["Exchange", "200 ok"]),
        case("a stream is shorter than announced", "9112 6.3", "fails, the connection is not used again")
            .server([vec![Head, ReadToEnd], vec![Head, says(OK)]]).client(vec![five(&["hell"]), get()])
            .right(|seen| seen.answers() == ["Exchange", "200 ok"]),
        case("a stream is as long as announced", "9112 6.2", "sent with its length")
            .server([vec![Head, says(OK), Head, says(OK)]]).client(vec![five(&["he", "llo"]), get()])
            .right(|seen| seen.answers() == ["200 ok", "200 ok"] && seen.text(0).contains("\r\n\r\nhello")),
        case("a POST, a PUT and a PATCH without a body", "9110 8.6", "content-length: 0 each")
            .server([vec![Head, says(OK), Head, says(OK), Head, says(OK)]])
            .client(vec![call(Method::POST), call(Method::PUT), call(Method::PATCH)])
            .right(|seen| seen.text(0).matches("content-length: 0\r\n").count() == 3),
        case("a GET with a body of unknown length", "9110 9.3.1", "the body is sent, in chunks")
            .server([vec![Head, says(OK)]]).client(vec![get().upload(Upload::Chunks(vec![Bytes::from("hello")]))])
            .right(|seen| seen.text(0).ends_with("5\r\nhello\r\n0\r\n\r\n")),
        case("a length beside a transfer coding", "9112 6.2", "no length is sent")
            .server([vec![Head, says(OK)]])
            .client(vec![get().header("content-length", "26").header("transfer-encoding", "chunked")])
            .right(|seen| seen.answers() == ["200 ok"] && !seen.text(0).contains("content-length")),
    ]
}
