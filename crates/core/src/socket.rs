//! A look at the socket below a connection.

use std::fmt;
use std::sync::Arc;

/// A look at the socket below a connection, without reading from it.
///
/// A reactor learns of what has arrived when its thread turns to it; the kernel knows at once. A
/// connector that has a socket puts one of these into the extras of its connection's `Connected`, below
/// any TLS; a pool asks it before it uses a connection again that has idled. Where the connection is no
/// socket there is none, and the reactor alone is asked.
///
/// It neither keeps the socket open nor waits.
#[derive(Clone)]
pub struct SocketPeek(Arc<dyn Fn() -> SocketState + Send + Sync>);

/// What a [`SocketPeek`] shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketState {
    /// It is open, and nothing is there to be read.
    Silent,
    /// Bytes are there to be read. On a connection with TLS they may be the layer's own.
    Readable,
    /// The peer has ended it, it was reset, or it is gone.
    Closed,
}

impl SocketPeek {
    /// A look by `peek`, which must not block: it runs in the poll of whoever asks.
    pub fn new(peek: impl Fn() -> SocketState + Send + Sync + 'static) -> Self {
        Self(Arc::new(peek))
    }

    /// The state of the socket at this moment.
    pub fn peek(&self) -> SocketState {
        (self.0)()
    }
}

impl fmt::Debug for SocketPeek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SocketPeek")
    }
}
