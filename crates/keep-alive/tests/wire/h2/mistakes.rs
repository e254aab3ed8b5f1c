//! What a peer, or a caller, does wrong: it fails alone, and says what to change.

use tollgate_keep_alive::Http2Options;

use super::frames::{END_HEADERS, END_STREAM, HEADERS, data, frame, head, ok, settings};
use crate::play::Outcome;
use crate::script::Step::{Close, Frame, Hold};
use crate::script::{Case, Step, Upload, call, case2, get, post, says};

/// A fatal alert, `unexpected_message`: how a TLS server answers HTTP/2 in the clear.
const ALERT: &[u8] = &[0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x0a];
const OLD: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

const CONTINUATION: u8 = 9;
const LIMIT: &[&str] = &["4000 bytes", "Http2Options::max_header_list_size"];

/// `:status: 103` as a literal, with a field of so many bytes.
fn interim(stream: u32, bytes: usize) -> Step {
    let mut block = vec![0x08, 3, b'1', b'0', b'3'];
    block.extend([0x00, 1, b'a', 0x7f]);
    // HPACK's integers: 127 in the prefix, the rest in groups of seven bits.
    let mut rest = bytes - 0x7f;
    while rest >= 0x80 {
        block.push(u8::try_from(rest % 0x80).unwrap() | 0x80);
        rest /= 0x80;
    }
    block.push(u8::try_from(rest).unwrap());
    block.extend(vec![b'x'; bytes]);
    says(frame(HEADERS, END_HEADERS, stream, &block))
}

/// `:status: 200` and so many fields of 4,000 bytes each, which ends the stream.
fn long_head(stream: u32, fields: usize) -> Step {
    const FRAME: usize = 16_000;
    let mut block = vec![0x88];
    for _ in 0..fields {
        // A name of one byte, a value of 4,000: 127 in the prefix, 3,873 in groups of seven bits.
        block.extend([0x00, 1, b'a', 0x7f, 0xa1, 0x1e]);
        block.extend(vec![b'x'; 4_000]);
    }
    let pieces: Vec<_> = block.chunks(FRAME).collect();
    let last = pieces.len() - 1;
    let frames = pieces.iter().enumerate().map(|(n, piece)| {
        let (kind, ends) = if n == 0 {
            (HEADERS, END_STREAM)
        } else {
            (CONTINUATION, 0)
        };
        let flags = ends | if n == last { END_HEADERS } else { 0 };
        frame(kind, flags, stream, piece)
    });
    says(frames.collect::<Vec<_>>().concat())
}

#[rustfmt::skip]
pub(crate) fn cases() -> Vec<Case> {
    let panics = call(http::Method::POST).upload(Upload::Panics);
    let mut many = vec![settings(), Frame(HEADERS)];
    many.extend((0..80).map(|_| interim(1, 8_000)));
    many.push(Hold);
    vec![
        case2("a TLS alert for the preface", "8446 6", "fails the dial, and says https")
            .server([vec![says(ALERT), Close]]).client(vec![get()])
            .right(|seen| seen.answers() == ["Connect"] && seen.advises(&["TLS alert", "write https"])),
        case2("HTTP/1 for the preface", "9113 3.4", "fails the dial, and says so")
            .server([vec![says(OLD), Close]]).client(vec![get()])
            .right(|seen| seen.answers() == ["Connect"] && seen.advises(&["in HTTP/1", "leave Protocol::Http2 out"])),
        case2("an interim response, then a head", "9113 8.1", "is an answer")
            .server([vec![settings(), Frame(HEADERS), interim(1, 8_000), head(1, END_STREAM)]]).client(vec![get()])
            .right(|seen| seen.answers() == ["200"]),
        case2("640 KB of interim responses", "9110 15.2", "the call fails")
            .server([many]).client(vec![get()])
            .right(|seen| matches!(&seen.outcomes[..], [Outcome::Failed(kind)] if kind == "Exchange"))
            .ours_alone(),
        case2("40 KB of header fields", "9113 6.5.2", "is an answer")
            .server([vec![settings(), Frame(HEADERS), long_head(1, 10)]]).client(vec![get()])
            .right(|seen| seen.answers() == ["200"]),
        case2("8 KB of header fields, a limit of 4,000", "9113 6.5.2", "the call fails alone, with the limit and its option")
            .server([vec![settings(), Frame(HEADERS), long_head(1, 2), Frame(HEADERS), head(3, END_STREAM)]]).client(vec![get(), get()])
            .options(|layer| layer.http2(Http2Options::new().max_header_list_size(4_000)))
            .right(|seen| seen.answers() == ["Exchange", "200"] && seen.connections() == 1 && seen.advises(LIMIT)).ours_alone(),
        case2("32 KB of header fields, a limit of 4,000", "9113 10.5.1", "the connection ends, with the limit and its option")
            .server([vec![settings(), Frame(HEADERS), long_head(1, 8), Hold]]).client(vec![post(3)])
            .options(|layer| layer.http2(Http2Options::new().max_header_list_size(4_000)))
            .right(|seen| matches!(&seen.outcomes[..], [Outcome::Failed(_)]) && seen.advises(LIMIT)).ours_alone(),
        case2("DATA on no stream for an answer", "9113 6.1", "the call fails, and is not sent again")
            .server([vec![settings(), Frame(HEADERS), data(0, 0, b"x"), Hold]]).client(vec![get()])
            .right(|seen| seen.answers() == ["Exchange"] && seen.connections() == 1),
        case2("the same on a connection that has served", "9113 6.1", "the call fails, and is not sent again")
            .server([vec![settings(), Frame(HEADERS), head(1, END_STREAM), Frame(HEADERS), data(0, 0, b"x"), Hold]]).client(vec![get(), get()])
            .right(|seen| seen.answers() == ["200", "Exchange"] && seen.connections() == 1),
        case2("a request body that panics", "", "the call fails, others are served")
            .server([vec![settings(), Frame(HEADERS), Frame(HEADERS), ok(3, 0, 2), data(3, END_STREAM, b"ok")]]).client(vec![panics, get()])
            .right(|seen| seen.connections() == 1 && matches!(&seen.outcomes[..], [Outcome::Failed(_), Outcome::Answer(200, _)])
                && seen.advises(&["the request's body panicked"])).ours_alone(),
    ]
}
