//! Which protocol to agree on.

/// The protocols offered by ALPN, and with that the one agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Alpn {
    /// `http/1.1`: HTTP/1.1.
    Http1,
    /// `h2`: HTTP/2 and nothing else. The handshake fails with a server that speaks ALPN without it, and
    /// with one that knows no ALPN.
    Http2,
    /// `h2` before `http/1.1`: whichever the server prefers; HTTP/1.1 with one that knows no ALPN, or
    /// that says over HTTP/2 that it requires HTTP/1.1.
    Auto,
}

impl Alpn {
    /// The names offered, for people.
    pub(crate) const fn offer(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
            Self::Auto => "h2 and http/1.1",
        }
    }

    pub(crate) fn protocols(self) -> Vec<Vec<u8>> {
        let names: &[&[u8]] = match self {
            Self::Http1 => &[b"http/1.1"],
            Self::Http2 => &[b"h2"],
            Self::Auto => &[b"h2", b"http/1.1"],
        };
        names.iter().map(|name| name.to_vec()).collect()
    }
}
