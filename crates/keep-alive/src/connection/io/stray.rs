//! Bytes that came while nothing was asked.

/// The start of an answer to nothing by which servers say that they have waited long enough (RFC 9110
/// section 15.5.9), of either version of HTTP/1.
const REQUEST_TIMEOUT: [u8; 12] = *b"HTTP/1.x 408";

/// Bytes that came while nothing was asked, kept until it is clear whether they are a 408: a status line
/// may come in pieces.
#[derive(Debug, Default)]
pub(super) struct Stray {
    bytes: [u8; REQUEST_TIMEOUT.len()],
    length: usize,
}

impl Stray {
    /// Takes what came next. Returns true if it is a 408, `None` if there is too little to say so.
    pub(super) fn push(&mut self, read: &[u8]) -> Option<bool> {
        let room = &mut self.bytes[self.length..];
        let taken = room.len().min(read.len());
        room[..taken].copy_from_slice(&read[..taken]);
        self.length += taken;
        let mut pairs = self.bytes[..self.length].iter().zip(REQUEST_TIMEOUT);
        let begins =
            pairs.all(|(&byte, wanted)| byte == wanted || wanted == b'x' && byte.is_ascii_digit());
        match self.length {
            _ if !begins => Some(false),
            length if length == REQUEST_TIMEOUT.len() => Some(true),
            _ => None,
        }
    }

    /// Returns true if something came.
    pub(super) const fn is_some(&self) -> bool {
        self.length > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMED_OUT: &[u8] = b"HTTP/1.0 408 Request Timeout\r\n\r\n";

    fn verdict(pieces: &[&[u8]]) -> Option<bool> {
        let mut stray = Stray::default();
        pieces.iter().find_map(|piece| stray.push(piece))
    }

    #[test]
    fn a_408_is_known_however_it_is_cut() {
        for cut in 0..TIMED_OUT.len() {
            let (first, second) = TIMED_OUT.split_at(cut);
            assert_eq!(verdict(&[first, second]), Some(true), "cut at {cut}");
        }
        let bytes: Vec<_> = TIMED_OUT.chunks(1).collect();
        assert_eq!(verdict(&bytes), Some(true));
    }

    #[test]
    fn other_bytes_are_known_at_the_first_difference() {
        let other = b"HTTP/1.1 200 OK";
        for cut in 0..other.len() {
            let (first, second) = other.split_at(cut);
            assert_eq!(verdict(&[first, second]), Some(false), "cut at {cut}");
        }
        assert_eq!(verdict(&[b"HTTP/1.1 40"]), None);
        assert_eq!(verdict(&[b"HTTP/1.1 40", b"0"]), Some(false));
        assert_eq!(verdict(&[b"HTTP/2"]), Some(false));
        assert_eq!(verdict(&[b""]), None);
    }
}
