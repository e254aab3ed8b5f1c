//! The connection that a dial hands over.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tollgate_core::DialInfo;

use crate::unix::UnixIo;

/// A dialled connection: to hyper an IO, to a pool a
/// [`Connection`] with a [`DialInfo`] in its [`Connected`].
///
/// `T` is what the attempt made, a TCP stream unless the
/// [`DialLayer`](crate::DialLayer) was given another one.
#[derive(Debug)]
pub struct DialStream<T = TokioIo<TcpStream>> {
    io: Io<T>,
    info: DialInfo,
}

#[derive(Debug)]
enum Io<T> {
    Attempt(T),
    Unix(UnixIo),
}

impl<T> DialStream<T> {
    pub(crate) const fn of_attempt(io: T, info: DialInfo) -> Self {
        Self {
            io: Io::Attempt(io),
            info,
        }
    }

    pub(crate) const fn of_unix(io: UnixIo, info: DialInfo) -> Self {
        Self {
            io: Io::Unix(io),
            info,
        }
    }

    /// What the dial went through.
    pub const fn info(&self) -> &DialInfo {
        &self.info
    }

    /// What the attempt made; `None` if this leads to a Unix socket.
    pub const fn get_ref(&self) -> Option<&T> {
        match &self.io {
            Io::Attempt(io) => Some(io),
            Io::Unix(_) => None,
        }
    }

    /// See [`get_ref`](Self::get_ref).
    pub const fn get_mut(&mut self) -> Option<&mut T> {
        match &mut self.io {
            Io::Attempt(io) => Some(io),
            Io::Unix(_) => None,
        }
    }

    /// See [`get_ref`](Self::get_ref). A connection to a Unix socket is closed.
    pub fn into_inner(self) -> Option<T> {
        match self.io {
            Io::Attempt(io) => Some(io),
            Io::Unix(_) => None,
        }
    }
}

impl<T: Connection> Connection for DialStream<T> {
    fn connected(&self) -> Connected {
        let connected = match &self.io {
            Io::Attempt(io) => io.connected(),
            Io::Unix(io) => io.connected(),
        };
        connected.extra(self.info.clone())
    }
}

impl<T: Read + Unpin> Read for DialStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Attempt(io) => Pin::new(io).poll_read(cx, buf),
            Io::Unix(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl<T: Write + Unpin> Write for DialStream<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Attempt(io) => Pin::new(io).poll_write(cx, buf),
            Io::Unix(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Attempt(io) => Pin::new(io).poll_flush(cx),
            Io::Unix(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Attempt(io) => Pin::new(io).poll_shutdown(cx),
            Io::Unix(io) => Pin::new(io).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Attempt(io) => io.is_write_vectored(),
            Io::Unix(io) => io.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Attempt(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Io::Unix(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }
}
