//! The first bytes of a peer that does not speak HTTP/1.

use std::error::Error;
use std::fmt;

/// Another protocol than HTTP/1, by the first bytes of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// A TLS alert, by which a TLS server answers a request in the clear.
    Tls,
    /// SETTINGS, by which an HTTP/2 connection begins.
    Http2,
}

impl Greeting {
    /// The protocol of the first bytes, if it is known and not HTTP/1.
    pub(super) fn of(first: &[u8]) -> Option<Self> {
        match *first {
            // The first byte alone will do, since hyper gives up at it.
            [0x15] | [0x15, 0x03, ..] => Some(Self::Tls),
            // The head of a frame (RFC 9113 section 4.1): its length, its type, its flags, its stream;
            // as much of it as has come with the type.
            [_, _, _, 4, ref rest @ ..] if rest.iter().take(5).all(|byte| *byte == 0) => {
                Some(Self::Http2)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Greeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => {
                "the peer answered HTTP/1 in the clear with a TLS alert: it expects TLS, so write https"
            }
            Self::Http2 => {
                "the peer answered HTTP/1 with SETTINGS of HTTP/2: set Protocol::Http2 for it, or let ALPN \
                 agree on the protocol"
            }
        })
    }
}

impl Error for Greeting {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_name_tls_and_http2() {
        assert_eq!(Greeting::of(&[0x15, 3, 1, 0, 2]), Some(Greeting::Tls));
        let settings = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3];
        for cut in 4..=settings.len() {
            assert_eq!(Greeting::of(&settings[..cut]), Some(Greeting::Http2));
        }
        assert_eq!(Greeting::of(&[0x15]), Some(Greeting::Tls));
        assert_eq!(Greeting::of(&[0x15, 0x04]), None);
        assert_eq!(Greeting::of(b"HTTP/1.1 200 OK\r\n"), None);
        assert_eq!(Greeting::of(b"H"), None);
        assert_eq!(Greeting::of(&[]), None);
    }
}
