//! Lengths that the request's body does not have, on a stream: it ends alone.

use bytes::Bytes;
use http::Method;

use super::frames::{END_STREAM, HEADERS, RST_STREAM, data, ok, settings};
use crate::play::Seen;
use crate::script::Step::Frame;
use crate::script::{Case, Do, Step, Upload, call, case2, get, post};

const DATA: u8 = 0;

/// A POST that announces five bytes and has these chunks.
fn five(chunks: &[&'static str]) -> Do {
    let chunks = chunks
        .iter()
        .map(|chunk| Bytes::from_static(chunk.as_bytes()));
    call(Method::POST)
        .header("content-length", "5")
        .upload(Upload::Chunks(chunks.collect()))
}

/// Answers the second stream after the first was reset.
fn resets_then_ok() -> Vec<Step> {
    vec![
        settings(),
        Frame(HEADERS),
        Frame(RST_STREAM),
        Frame(HEADERS),
        ok(3, 0, 2),
        data(3, END_STREAM, b"ok"),
    ]
}

#[rustfmt::skip]
pub(crate) fn cases() -> Vec<Case> {
    let refused = |seen: &Seen| seen.answers()[0] == "InvalidRequest" && !sends_headers(seen);
    let fails_alone = |seen: &Seen| seen.answers() == ["Exchange", "200 ok"] && seen.connections() == 1;
    vec![
        case2("a GET announces 26 bytes and has none", "9113 8.1.1", "refused, nothing sent")
            .server([vec![settings()]]).client(vec![get().header("content-length", "26")]).right(refused).ours_alone(),
        case2("a POST announces 5 bytes and has 10", "9113 8.1.1", "refused, nothing sent")
            .server([vec![settings()]]).client(vec![post(10).header("content-length", "5")]).right(refused).ours_alone(),
        case2("a POST announces 10 bytes and has 5", "9113 8.1.1", "refused, nothing sent")
            .server([vec![settings()]]).client(vec![post(5).header("content-length", "10")]).right(refused).ours_alone(),
        case2("a stream is longer than announced", "9113 8.1.1", "the call fails alone, its stream is reset")
            .server([resets_then_ok()]).client(vec![five(&["he", "llo", "more"]), get()]).right(fails_alone).ours_alone(),
        case2("a stream is longer, in one chunk", "9113 8.1.1", "the call fails alone, its stream is reset")
            .server([resets_then_ok()]).client(vec![five(&["helloworld"]), get()]).right(fails_alone).ours_alone(),
        case2("a stream is shorter than announced", "9113 8.1.1", "the call fails alone, its stream is reset")
            .server([resets_then_ok()]).client(vec![five(&["hell"]), get()]).right(fails_alone).ours_alone(),
        case2("a stream is as long as announced", "9113 8.1.1", "sent with its length")
            .server([vec![settings(), Frame(HEADERS), Frame(DATA), Frame(DATA), ok(1, 0, 2), data(1, END_STREAM, b"ok")]])
            .client(vec![five(&["he", "llo"])]).right(|seen| seen.answers() == ["200 ok"]),
    ]
}

/// Returns true if a stream was opened: one HEADERS frame or more, on stream 1.
fn sends_headers(seen: &Seen) -> bool {
    const HEAD: &[u8] = &[0, 0, 0, 1];
    let opens = |bytes: &Vec<u8>| {
        let mut rest = bytes.get(24..).unwrap_or_default();
        while let Some(head) = rest.get(..9) {
            if head[3] == HEADERS && head[5..9] == *HEAD {
                return true;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            rest = rest.get(9 + length..).unwrap_or_default();
        }
        false
    };
    seen.received.iter().any(opens)
}
