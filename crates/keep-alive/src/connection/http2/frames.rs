//! HTTP/2 frames as they pass, parsed by their heads (RFC 9113 section 4.1); `wire` acts on them.

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const ACK: u8 = 1;
pub(super) const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The bytes of a frame's head.
pub(super) const HEAD: usize = 9;
/// The bytes that a client writes before its first frame (RFC 9113 section 3.4).
const PREFACE: usize = 24;
/// The first bytes of a payload that are kept: enough for a GOAWAY that says why in a word.
const KEPT: usize = 32;

/// A frame whose last byte has passed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) stream: u32,
    pub(super) length: u32,
    flags: u8,
    kept: [u8; KEPT],
}

impl Frame {
    pub(super) const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The first bytes of the payload.
    pub(super) fn payload(&self) -> &[u8] {
        &self.kept[..KEPT.min(self.length as usize)]
    }

    /// The number that stands `at` a place of the payload; 0 if the frame is too short for one.
    pub(super) fn number(&self, at: usize) -> u32 {
        let bytes = self.payload().get(at..at + 4);
        bytes.map_or(0, |bytes| {
            u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
        })
    }
}

/// Follows one direction of a connection from frame to frame.
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes to pass over before the first frame.
    before: usize,
    head: [u8; HEAD],
    kept: [u8; KEPT],
    /// Bytes of the present frame that have passed, its head included.
    passed: usize,
    /// A header block has begun that CONTINUATION goes on with: nothing may come between.
    in_block: bool,
    /// A whole frame has passed.
    begun: bool,
}

/// What a run of bytes belongs to.
#[derive(Debug)]
pub(super) enum Part<'a> {
    /// The preface, or a frame's head that is not complete.
    Before,
    /// The last bytes of a frame's head.
    Head,
    Payload(&'a [u8]),
}

impl Frames {
    /// The direction of the server.
    pub(super) const fn of_server() -> Self {
        Self {
            before: 0,
            head: [0; HEAD],
            kept: [0; KEPT],
            passed: 0,
            in_block: false,
            begun: false,
        }
    }

    /// The direction of the client, which begins with the preface.
    pub(super) const fn of_client() -> Self {
        let mut frames = Self::of_server();
        frames.before = PREFACE;
        frames
    }

    /// Takes the first bytes that belong together off `bytes`, which are not empty.
    pub(super) fn step<'a>(&mut self, bytes: &mut &'a [u8]) -> Part<'a> {
        if self.before > 0 {
            let preface = take(bytes, self.before);
            self.before -= preface.len();
            return Part::Before;
        }
        if self.passed < HEAD {
            let part = take(bytes, HEAD - self.passed);
            self.head[self.passed..][..part.len()].copy_from_slice(part);
            self.passed += part.len();
            return if self.passed == HEAD {
                Part::Head
            } else {
                Part::Before
            };
        }
        let at = self.passed - HEAD;
        let payload = take(bytes, self.length() as usize - at);
        if let Some(room) = self.kept.get_mut(at..) {
            let kept = room.len().min(payload.len());
            room[..kept].copy_from_slice(&payload[..kept]);
        }
        self.passed += payload.len();
        Part::Payload(payload)
    }

    /// The frame that ended with the last step, if one did.
    pub(super) fn ended(&mut self) -> Option<Frame> {
        if self.passed < HEAD || self.passed - HEAD < self.length() as usize {
            return None;
        }
        self.passed = 0;
        self.begun = true;
        let (kind, flags) = (self.kind(), self.head[4]);
        if matches!(kind, HEADERS | CONTINUATION) {
            self.in_block = flags & END_HEADERS == 0;
        }
        let [.., a, b, c, d] = self.head;
        Some(Frame {
            kind,
            stream: u32::from_be_bytes([a, b, c, d]) & (u32::MAX >> 1),
            length: self.length(),
            flags,
            kept: self.kept,
        })
    }

    pub(super) const fn kind(&self) -> u8 {
        self.head[3]
    }

    pub(super) const fn length(&self) -> u32 {
        u32::from_be_bytes([0, self.head[0], self.head[1], self.head[2]])
    }

    pub(super) const fn head(&self) -> &[u8; HEAD] {
        &self.head
    }

    /// The part of a frame's head that has come, as long as no whole frame has.
    pub(super) fn first_bytes(&self) -> Option<&[u8]> {
        (!self.begun).then(|| &self.head[..self.passed.min(HEAD)])
    }

    /// Returns true if another frame may be put here: between two that nothing binds together.
    pub(super) const fn is_between(&self) -> bool {
        self.begun && self.passed == 0 && !self.in_block
    }
}

fn take<'a>(bytes: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(most.min(bytes.len()));
    *bytes = rest;
    taken
}

/// A frame as bytes; its payload is short.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap_or(u8::MAX);
    let mut frame = vec![0, 0, length, kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(&payload[..length.into()]);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: u8 = 4;

    /// Each frame's kind, stream, length and first number, whatever pieces the bytes come in.
    fn seen(frames: &mut Frames, bytes: &[u8], piece: usize) -> Vec<(u8, u32, u32, u32)> {
        let mut seen = Vec::new();
        for mut bytes in bytes.chunks(piece) {
            while !bytes.is_empty() {
                frames.step(&mut bytes);
                if let Some(frame) = frames.ended() {
                    seen.push((frame.kind, frame.stream, frame.length, frame.number(0)));
                }
            }
        }
        seen
    }

    #[test]
    fn frames_are_parsed_in_pieces_of_any_size() {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(SETTINGS, 0, 0, &[]));
        bytes.extend(frame(DATA, END_STREAM, 3, &[7; 100]));
        bytes.extend(frame(RST_STREAM, 0, 5, &8_u32.to_be_bytes()));
        for piece in 1..=bytes.len() {
            let seen = seen(&mut Frames::of_client(), &bytes, piece);
            let sevens = u32::from_be_bytes([7; 4]);
            assert_eq!(
                seen,
                [
                    (SETTINGS, 0, 0, 0),
                    (DATA, 3, 100, sevens),
                    (RST_STREAM, 5, 4, 8)
                ],
                "in pieces of {piece}"
            );
        }
    }

    #[test]
    fn nothing_may_come_into_a_header_block() {
        let mut frames = Frames::of_server();
        assert!(!frames.is_between(), "SETTINGS come first");
        seen(&mut frames, &frame(SETTINGS, 0, 0, &[]), 9);
        assert!(frames.is_between());
        seen(&mut frames, &frame(HEADERS, 0, 1, &[0x88]), 9);
        assert!(!frames.is_between(), "CONTINUATION follows");
        seen(&mut frames, &frame(CONTINUATION, END_HEADERS, 1, &[]), 9);
        assert!(frames.is_between());
        seen(&mut frames, &frame(DATA, 0, 1, b"x")[..9], 9);
        assert!(!frames.is_between(), "the payload follows");
    }
}
