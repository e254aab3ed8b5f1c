//! What the pool itself ends an HTTP/2 connection over.

use std::fmt;
use std::io;
use std::time::Duration;

/// A reason to end the connection that hyper does not know.
#[derive(Clone, Debug)]
pub(super) enum Mistake {
    /// A ping was not answered for so long.
    Silent(Duration),
    /// So many bytes of header blocks came on one stream, and no final head.
    Interim(u32),
    /// The peer's first bytes are a TLS alert.
    Tls,
    /// The peer's first bytes are HTTP/1.
    Http1,
    /// A write found the peer's end gone, and the stream did not end.
    Gone,
}

impl Mistake {
    /// The mistake in the first bytes of a peer, if they are not HTTP/2.
    pub(super) fn in_greeting(first: &[u8]) -> Option<Self> {
        const TLS_ALERT: &[u8] = &[0x15, 0x03];
        if first.starts_with(TLS_ALERT) {
            Some(Self::Tls)
        } else if first.starts_with(b"HTTP/") {
            Some(Self::Http1)
        } else {
            None
        }
    }

    pub(super) fn to_io(&self) -> io::Error {
        let kind = match self {
            Self::Silent(_) => io::ErrorKind::TimedOut,
            Self::Gone => io::ErrorKind::ConnectionReset,
            Self::Interim(_) | Self::Tls | Self::Http1 => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, self.to_string())
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(silent) => write!(
                f,
                "the peer did not answer a ping for {silent:?}; the path to it is dead, or it is: raise \
                 Http2Options::ping_timeout if it is only slow"
            ),
            Self::Interim(bytes) => {
                write!(f, "{bytes} bytes of interim responses and no final one")
            }
            Self::Gone => f.write_str("the peer's end of the connection is gone"),
            Self::Tls => f.write_str(
                "the peer answered HTTP/2 in the clear with a TLS alert: it expects TLS, so write https",
            ),
            Self::Http1 => f.write_str(
                "the peer answered the preface of HTTP/2 in HTTP/1: leave Protocol::Http2 out for this \
                 origin, or let its server speak HTTP/2 without TLS",
            ),
        }
    }
}
