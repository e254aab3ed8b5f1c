//! The connection that a dial hands over.

#[cfg(unix)]
use std::any::Any;
use std::io;
#[cfg(unix)]
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tollgate_core::DialInfo;

use crate::peek::Looks;
use crate::unix::UnixIo;

/// A dialled connection: to hyper an IO, to a pool a
/// [`Connection`] with a [`DialInfo`] in its [`Connected`], and, on Unix, a
/// [`SocketPeek`](tollgate_core::SocketPeek) if it is a socket of tokio's.
///
/// `T` is what the attempt made, a TCP stream unless the
/// [`DialLayer`](crate::DialLayer) was given another one.
#[derive(Debug)]
pub struct DialStream<T = TokioIo<TcpStream>> {
    // Before the stream: it closes its descriptor.
    looks: Looks,
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
            looks: Looks::new(),
            io: Io::Attempt(io),
            info,
        }
    }

    pub(crate) const fn of_unix(io: UnixIo, info: DialInfo) -> Self {
        Self {
            looks: Looks::new(),
            io: Io::Unix(io),
            info,
        }
    }

    /// The facts about the dial: addresses, times, attempts.
    pub const fn info(&self) -> &DialInfo {
        &self.info
    }

    /// The connection of the attempt; `None` if this leads to a Unix socket.
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

impl<T: Connection + 'static> Connection for DialStream<T> {
    fn connected(&self) -> Connected {
        let connected = match &self.io {
            Io::Attempt(io) => io.connected(),
            Io::Unix(io) => io.connected(),
        };
        let connected = connected.extra(self.info.clone());
        #[cfg(unix)]
        if let Some(descriptor) = self.descriptor() {
            return connected.extra(self.looks.at(descriptor));
        }
        connected
    }
}

#[cfg(unix)]
impl<T: 'static> DialStream<T> {
    /// The descriptor of the socket, if it is one that is known here.
    fn descriptor(&self) -> Option<RawFd> {
        match &self.io {
            Io::Attempt(io) => {
                // tokio's TCP alone: what another attempt made may be no socket, or hide one below
                // a handshake.
                let tcp = (io as &dyn Any).downcast_ref::<TokioIo<TcpStream>>();
                tcp.map(|tcp| tcp.inner().as_raw_fd())
            }
            Io::Unix(io) => Some(io.inner().as_raw_fd()),
        }
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
