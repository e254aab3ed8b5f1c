//! Answers that come before the request's body has ended.

use std::time::Duration;

use bytes::Bytes;
use http::Method;

use crate::h1::OK;
use crate::script::Do::Reached;
use crate::script::Step::{Body, Head, Hold, Mark, ReadToEnd, Reset};
use crate::script::{Case, Do, Step, Upload, call, case, get, post, says};

const TOO_LARGE: &str =
    "HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig";
const DENIED: &str = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno";

const SECOND: Duration = Duration::from_secs(1);
const LARGE: usize = 32 << 20;

fn endless() -> Do {
    call(Method::POST).upload(Upload::Endless(16 << 10))
}

/// What the body of [`fails`] ends with.
const OWN: &[&str] = &["the caller's own error"];

fn fails() -> Do {
    call(Method::POST).upload(Upload::Fails(Bytes::from_static(b"first")))
}

fn stuck() -> Do {
    call(Method::POST).upload(Upload::Stuck(Bytes::from_static(b"first")))
}

/// A server that goes on with its answer, a byte at a time, and with reading.
fn trickles() -> Vec<Step> {
    let begun =
        "HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 1000\r\n\r\n";
    let mut steps = vec![Head, says(begun)];
    for _ in 0..20 {
        steps.extend([Body(64 << 10), says("x")]);
    }
    steps.push(ReadToEnd);
    steps
}

#[rustfmt::skip]
pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("a 413 that closes, then RST, in the middle of an upload", "9112 9.5", "the answer is read")
            .server([vec![Head, Body(1 << 20), says(TOO_LARGE), Reset]]).client(vec![post(LARGE)])
            .right(|seen| seen.answers() == ["413 big"]),
        case("the same with an answer that does not say close", "9112 9.5", "the answer is read")
            .server([vec![Head, Body(1 << 20), says(DENIED), Reset]]).client(vec![post(LARGE)])
            .right(|seen| seen.answers() == ["401 no"]),
        case("the same for chunks of an upload that would not end", "9112 9.5", "the answer is read")
            .server([vec![Head, Body(1 << 20), says(TOO_LARGE), Reset]]).client(vec![endless()])
            .right(|seen| seen.answers() == ["413 big"]),
        case("a 413 that closes, and the server reads on", "9112 9.5", "the upload stops, its place is free")
            .server([vec![Head, says(TOO_LARGE), ReadToEnd, Mark], vec![Head, says(OK)]])
            .client(vec![endless(), get(), Reached(1)])
            .right(|seen| seen.answers() == ["413 big", "200 ok"] && seen.bytes() < LARGE),
        case("the same while the answer is still coming", "9112 9.5", "the upload stops")
            .server([trickles()]).client(vec![endless().within(SECOND)])
            .right(|seen| seen.answers() == ["hung"] && seen.bytes() < LARGE),
        case("a whole 200, the upload never ends", "9110 9.3", "its place is free after a short grace")
            .server([vec![Head, says(OK), ReadToEnd, Mark], vec![Head, says(OK)]])
            .client(vec![stuck(), get(), Reached(1)])
            .right(|seen| seen.answers() == ["200 ok", "200 ok"] && seen.connections() == 2),
        case("a whole 200, the server reads nothing", "9110 9.3", "its place is free after a short grace")
            .server([vec![Head, says(OK), Hold], vec![Head, says(OK)]]).client(vec![endless(), get()])
            .right(|seen| seen.answers() == ["200 ok", "200 ok"] && seen.connections() == 2),
        case("a whole 200, then the upload fails", "9110 9.3", "the answer stands, its place is free")
            .server([vec![Head, says(OK), Step::Reached(1), ReadToEnd], vec![Head, says(OK)]]).client(vec![fails(), Do::Mark, get()])
            .right(|seen| seen.answers()[1] == "200 ok" && (seen.answers()[0] == "200 ok" || seen.advises(OWN))).ours_alone(),
        case("an upload that fails before an answer", "9112 8", "the call fails with that, its place is free")
            .server([vec![Head, ReadToEnd], vec![Head, says(OK)]]).client(vec![fails(), get()])
            .right(|seen| seen.answers() == ["Exchange", "200 ok"] && seen.advises(OWN) && seen.connections() == 2).ours_alone(),
        case("a 413 that closes, and an upload that fails", "9112 9.5", "its place is free")
            .server([vec![Head, says(TOO_LARGE), ReadToEnd], vec![Head, says(OK)]]).client(vec![fails(), get()])
            .right(|seen| seen.answers()[1] == "200 ok").ours_alone(),
        case("a 408 for a request on its way", "9110 15.5.9", "is its answer")
            .server([vec![Head, says("HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"), ReadToEnd], vec![Head, says(OK)]])
            .client(vec![stuck(), get()]).right(|seen| seen.answers() == ["408", "200 ok"]),
        case("an early 401 that does not close", "9112 9.3", "in step: the connection is used again")
            .server([vec![Head, says(DENIED), Body(1 << 20), Head, says(OK)]]).client(vec![post(1 << 20), get()])
            .right(|seen| seen.answers() == ["401 no", "200 ok"] && seen.connections() == 1),
    ]
}
