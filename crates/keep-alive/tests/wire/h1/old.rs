//! HTTP/1.0 peers.

use bytes::Bytes;
use http::Method;

use crate::h1::OK;
use crate::script::Step::{Close, Head};
use crate::script::{Case, Upload, call, case, get, post, says};

const KEPT: &str = "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok";
const IN_CAPITALS: &str =
    "HTTP/1.0 200 OK\r\nConnection: X-Other, Keep-Alive\r\nContent-Length: 2\r\n\r\nok";
const UNMEASURED: &str = "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n\r\nok";
const CLOSED: &str = "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[rustfmt::skip]
pub(crate) fn cases() -> Vec<Case> {
    let three = || vec![get(), post(3), get()];
    vec![
        case("HTTP/1.0 that offers keep-alive", "9112 9.3", "one connection")
            .server([vec![Head, says(KEPT), Head, says(KEPT), Head, says(KEPT)]]).client(three())
            .right(|seen| seen.answers() == ["200 ok"; 3] && seen.connections() == 1),
        case("HTTP/1.0 that offers it in capitals, among others", "9112 9.3", "one connection")
            .server([vec![Head, says(IN_CAPITALS), Head, says(IN_CAPITALS), Head, says(IN_CAPITALS)]]).client(three())
            .right(|seen| seen.answers() == ["200 ok"; 3] && seen.connections() == 1),
        case("HTTP/1.0 that does not", "9112 9.3", "a connection for each call")
            .server([vec![Head, says(CLOSED)]]).client(three())
            .right(|seen| seen.answers() == ["200 ok"; 3] && seen.connections() == 3),
        case("keep-alive without a length", "9112 6.3", "the body to the close, then a new connection")
            .server([vec![Head, says(UNMEASURED), Close], vec![Head, says(OK)]]).client(vec![get(), post(3)])
            .right(|seen| seen.answers() == ["200 ok"; 2] && seen.connections() == 2),
        case("chunks for a peer known to speak HTTP/1.0", "9112 6.1", "not sent to it without the body")
            .server([vec![Head, says(KEPT), Head, says(KEPT)], vec![Head, says(OK)]])
            .client(vec![get(), call(Method::POST).upload(Upload::Chunks(vec![Bytes::from("hello")]))])
            .right(|seen| seen.answers() == ["200 ok"; 2] && seen.text(1).contains("5\r\nhello\r\n")),
    ]
}
