//! Which protocol to agree on.

/// What is offered by ALPN, and with that which protocol the two agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Alpn {
    /// `http/1.1`: HTTP/1.1.
    Http1,
    /// `h2`: HTTP/2 and nothing else. A server that speaks ALPN without it refuses the handshake.
    Http2,
    /// `h2` before `http/1.1`: whichever the server prefers; HTTP/1.1 with one that knows no ALPN.
    Auto,
}

impl Alpn {
    pub(crate) fn protocols(self) -> Vec<Vec<u8>> {
        let names: &[&[u8]] = match self {
            Self::Http1 => &[b"http/1.1"],
            Self::Http2 => &[b"h2"],
            Self::Auto => &[b"h2", b"http/1.1"],
        };
        names.iter().map(|name| name.to_vec()).collect()
    }
}
