//! HTTP/2 frames as bytes (RFC 9113 section 4.1).

use bytes::Bytes;

use crate::script::{Step, says};

/// `:status: 200`, the eighth entry of HPACK's static table.
const STATUS_200: u8 = 0x88;

pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A frame: its type, its flags, its stream and its payload.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Empty SETTINGS, and the acknowledgement of the client's.
pub(crate) fn settings() -> Step {
    says(Bytes::from(
        [frame(4, 0, 0, &[]), frame(4, 1, 0, &[])].concat(),
    ))
}

/// SETTINGS that allow so many streams, and the acknowledgement of the client's.
pub(crate) fn at_most(streams: u32) -> Step {
    const MAX_CONCURRENT_STREAMS: [u8; 2] = [0, 3];
    let setting = [&MAX_CONCURRENT_STREAMS[..], &streams.to_be_bytes()].concat();
    let acknowledged = frame(SETTINGS, 1, 0, &[]);
    says([frame(SETTINGS, 0, 0, &setting), acknowledged].concat())
}

pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const INTERNAL_ERROR: u32 = 2;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const HTTP_1_1_REQUIRED: u32 = 13;

/// HEADERS with `:status: 200` alone.
pub(crate) fn head(stream: u32, flags: u8) -> Step {
    says(frame(HEADERS, END_HEADERS | flags, stream, &[STATUS_200]))
}

/// HEADERS with `:status: 103` as a literal.
pub(crate) fn early_hints(stream: u32) -> Step {
    says(frame(HEADERS, END_HEADERS, stream, b"\x08\x03103"))
}

/// Trailers: one field, a literal without indexing whose name is new.
pub(crate) fn trailers(stream: u32) -> Step {
    let block = b"\x00\x01a\x01b";
    says(frame(HEADERS, END_HEADERS | END_STREAM, stream, block))
}

/// `RST_STREAM`.
pub(crate) fn rst(stream: u32, code: u32) -> Step {
    says(frame(3, 0, stream, &code.to_be_bytes()))
}

/// GOAWAY: the streams up to `last` are processed.
pub(crate) fn goaway(last: u32, code: u32) -> Step {
    let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
    says(frame(7, 0, 0, &payload))
}

/// Several frames in one write, so that they arrive together.
pub(crate) fn at_once(steps: impl IntoIterator<Item = Step>) -> Step {
    let bytes = steps.into_iter().flat_map(|step| match step {
        Step::Says(bytes) => bytes,
        other => panic!("not a frame: {other:?}"),
    });
    says(bytes.collect::<Vec<_>>())
}

/// HEADERS with `:status: 200` and a `content-length`, in HPACK literals (RFC 7541).
pub(crate) fn ok(stream: u32, flags: u8, length: usize) -> Step {
    // A literal without indexing, its name number 28 of the static table.
    const CONTENT_LENGTH: [u8; 2] = [0x0f, 0x0d];
    let length = length.to_string();
    let mut block = vec![STATUS_200];
    block.extend(CONTENT_LENGTH);
    block.push(u8::try_from(length.len()).unwrap());
    block.extend(length.as_bytes());
    says(frame(HEADERS, END_HEADERS | flags, stream, &block))
}

/// DATA.
pub(crate) fn data(stream: u32, flags: u8, payload: &[u8]) -> Step {
    says(frame(0, flags, stream, payload))
}
