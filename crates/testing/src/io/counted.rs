//! Connections that are counted by the guard inside them.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::net::TcpStream;

use crate::board::Board;
use crate::upstream::Upstream;

/// A connector's counters at one moment.
///
/// `calls = dialling + opened + failed + cancelled`, and `live` is what of `opened` still exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Calls so far.
    pub calls: usize,
    /// Futures of calls that exist and have not ended.
    pub dialling: usize,
    /// The most of them at once.
    pub peak_dialling: usize,
    /// Calls that made a connection.
    pub opened: usize,
    /// Calls that ended in an error or a panic.
    pub failed: usize,
    /// Calls whose future was dropped before it ended.
    pub cancelled: usize,
    /// IO objects that exist now.
    pub live: usize,
    /// The most of them at once.
    pub peak_live: usize,
}

/// Receives what was written.
pub(super) type Tap = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// `Connected` cannot be cloned, so it is made anew each time.
pub(super) type Describe = Arc<dyn Fn() -> Connected + Send + Sync>;

/// An IO object whose existence is counted.
///
/// It counts from when it is made to its drop, whatever the peer does.
pub struct CountedIo<T> {
    inner: T,
    /// Else what the IO object says itself.
    connected: Option<Describe>,
    tap: Option<Tap>,
    // Last, so that the connection is closed before it is counted as closed.
    _live: Live,
}

impl CountedIo<Stream> {
    /// A connection in memory to this upstream, counted by the upstream alone: what a
    /// [`Probe`](crate::contract::Probe) of a connector answers with.
    pub fn memory(upstream: &Upstream) -> Self {
        let stream = Stream::Memory(TokioIo::new(upstream.connect()));
        Self::new(stream, Arc::new(Connected::new), Arc::default())
    }
}

impl<T> CountedIo<T> {
    pub(super) fn new(inner: T, connected: Describe, board: Arc<Board<Stats>>) -> Self {
        Self {
            inner,
            connected: Some(connected),
            tap: None,
            _live: Live::new(board),
        }
    }

    pub(super) fn of(inner: T, board: Arc<Board<Stats>>) -> Self {
        Self {
            inner,
            connected: None,
            tap: None,
            _live: Live::new(board),
        }
    }

    pub(super) fn tapped(mut self, tap: Option<Tap>) -> Self {
        self.tap = tap;
        self
    }

    /// Returns the counted IO.
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// Returns the counted IO.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T: fmt::Debug> fmt::Debug for CountedIo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CountedIo").field(&self.inner).finish()
    }
}

impl<T: Read + Unpin> Read for CountedIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<T: Write + Unpin> Write for CountedIo<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, buf))?;
        if let Some(tap) = &self.tap {
            tap(&buf[..written]);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, bufs))?;
        if let Some(tap) = &self.tap {
            let mut left = written;
            for buf in bufs {
                let here = left.min(buf.len());
                tap(&buf[..here]);
                left -= here;
            }
        }
        Poll::Ready(Ok(written))
    }
}

impl<T: Connection> Connection for CountedIo<T> {
    fn connected(&self) -> Connected {
        let own = || self.inner.connected();
        self.connected
            .as_ref()
            .map_or_else(own, |connected| connected())
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// Counts an IO object in and out.
struct Live(Arc<Board<Stats>>);

impl Live {
    fn new(board: Arc<Board<Stats>>) -> Self {
        board.update(|stats| {
            stats.live += 1;
            stats.peak_live = stats.peak_live.max(stats.live);
        });
        Self(board)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.update(|stats| stats.live -= 1);
    }
}

/// A connection over TCP or in memory.
#[derive(Debug)]
#[non_exhaustive]
pub enum Stream {
    /// In memory.
    Memory(TokioIo<DuplexStream>),
    /// Over TCP.
    Tcp(TokioIo<TcpStream>),
}

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Memory(io) => Pin::new(io).poll_read(cx, buf),
            Self::Tcp(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Memory(io) => Pin::new(io).poll_write(cx, buf),
            Self::Tcp(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Memory(io) => Pin::new(io).poll_flush(cx),
            Self::Tcp(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Memory(io) => Pin::new(io).poll_shutdown(cx),
            Self::Tcp(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
