//! One attempt: one socket, one address.

use std::error::Error;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::{fmt, io};

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tollgate_core::ConnectErrorKind;
use tower_service::Service;

use crate::socket::{SocketOptions, connect_error, has_no_source, is_connected_to_itself};

/// Connects a TCP socket to one address, with the options of the
/// [`DialLayer`](crate::DialLayer) it comes from.
///
/// Always ready. Its future owns the socket: dropping it closes the socket, half open or not.
#[derive(Clone, Debug)]
pub struct TcpAttempt {
    options: Arc<SocketOptions>,
}

impl TcpAttempt {
    /// With the default options.
    pub fn new() -> Self {
        Self {
            options: Arc::new(SocketOptions::DEFAULT),
        }
    }

    pub(crate) fn options_mut(&mut self) -> &mut SocketOptions {
        // A copy where they are shared: a layer that is configured further changes no service it
        // has made.
        Arc::make_mut(&mut self.options)
    }

    /// The one family that can be dialled, if a local address was given for one only.
    pub(crate) fn only_family(&self) -> Option<Family> {
        match (self.options.local_v4, self.options.local_v6) {
            (Some(_), None) => Some(Family::V4),
            (None, Some(_)) => Some(Family::V6),
            _ => None,
        }
    }
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) fn has(self, addr: SocketAddr) -> bool {
        addr.is_ipv4() == (self == Self::V4)
    }
}

impl Default for TcpAttempt {
    fn default() -> Self {
        Self::new()
    }
}

impl Service<SocketAddr> for TcpAttempt {
    type Response = TokioIo<TcpStream>;
    type Error = AttemptError;
    type Future = TcpConnecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AttemptError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, addr: SocketAddr) -> TcpConnecting {
        TcpConnecting {
            addr,
            state: State::New(Arc::clone(&self.options)),
        }
    }
}

/// A socket on its way to being connected.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct TcpConnecting {
    addr: SocketAddr,
    state: State,
}

#[derive(Debug)]
enum State {
    /// New → `Connecting` | `Done`
    New(Arc<SocketOptions>),
    /// Connecting → `Done`
    Connecting(TcpStream),
    Done,
}

impl TcpConnecting {
    fn connected(&self, stream: TcpStream) -> Result<TokioIo<TcpStream>, AttemptError> {
        // Writable is not connected yet: how the connect ended stands on the socket.
        let ended = connect_error(&stream).and_then(|()| {
            if is_connected_to_itself(&stream) {
                // What the peer's system would have answered: nothing listens there.
                return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
            }
            Ok(())
        });
        match ended {
            Ok(()) => Ok(TokioIo::new(stream)),
            Err(error) => Err(AttemptError::connect(self.addr, error)),
        }
    }
}

impl Future for TcpConnecting {
    type Output = Result<TokioIo<TcpStream>, AttemptError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let addr = self.addr;
        // Taken out: a socket whose connect has failed is closed here, not when the race ends.
        let stream = match std::mem::replace(&mut self.state, State::Done) {
            // In the poll and not in the call: an attempt that is dropped unpolled opens no socket.
            State::New(options) => options.connect(addr)?,
            State::Connecting(stream) => stream,
            State::Done => panic!("polled after it was ready"),
        };
        match stream.poll_write_ready(cx) {
            Poll::Pending => {
                self.state = State::Connecting(stream);
                Poll::Pending
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(AttemptError::connect(addr, error))),
            Poll::Ready(Ok(())) => Poll::Ready(self.connected(stream)),
        }
    }
}

/// The failure of one attempt, with the system call that failed. Its source is the `io::Error`.
#[derive(Debug)]
pub struct AttemptError {
    stage: Stage,
    addr: SocketAddr,
    source: io::Error,
}

/// The part of an attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Socket,
    Options,
    Bind(IpAddr),
    Connect,
    /// `connect`, on a machine that has no address to connect from.
    Source,
}

impl AttemptError {
    pub(crate) const fn new(stage: Stage, addr: SocketAddr, source: io::Error) -> Self {
        Self {
            stage,
            addr,
            source,
        }
    }

    /// The error of a `connect`.
    ///
    /// `EADDRNOTAVAIL` means that no port is left, or that there is no address to connect from, as where
    /// IPv6 is switched off. A datagram socket, which sends nothing when it connects, tells which.
    pub(crate) fn connect(addr: SocketAddr, source: io::Error) -> Self {
        let unavailable = source.kind() == io::ErrorKind::AddrNotAvailable;
        // Asked only after this error, since it costs a socket.
        if unavailable && has_no_source(addr) {
            return Self::new(Stage::Source, addr, source);
        }
        Self::new(Stage::Connect, addr, source)
    }

    /// The address that was to be connected to.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The kind of failure.
    ///
    /// No local port is left if `connect` returns `EADDRNOTAVAIL` or `bind` to port 0 returns
    /// `EADDRINUSE`; a `bind` that returns `EADDRNOTAVAIL` was given an address that this machine does
    /// not have, which is [`Other`](ConnectErrorKind::Other). Where this machine has no address of the
    /// family at all, it is [`Unreachable`](ConnectErrorKind::Unreachable).
    pub fn kind(&self) -> ConnectErrorKind {
        let missing = self.source.kind() == io::ErrorKind::AddrNotAvailable;
        match self.stage {
            Stage::Bind(_) if missing => ConnectErrorKind::Other,
            Stage::Source => ConnectErrorKind::Unreachable,
            _ => ConnectErrorKind::of_io(&self.source),
        }
    }

    /// Returns what failed, without an address.
    pub(crate) const fn what(&self) -> &'static str {
        match self.stage {
            Stage::Socket => "could not open a socket",
            Stage::Options => "could not configure the socket",
            Stage::Bind(_) => "could not bind to the local address",
            Stage::Connect => "could not connect",
            Stage::Source => "no address of that family here to connect from",
        }
    }

    pub(crate) const fn is_bind(&self) -> bool {
        matches!(self.stage, Stage::Bind(_))
    }
}

impl fmt::Display for AttemptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what())?;
        match self.stage {
            Stage::Socket | Stage::Options => write!(f, " for {}", self.addr),
            Stage::Bind(local) => write!(f, " {local}"),
            Stage::Connect | Stage::Source => write!(f, " to {}", self.addr),
        }
    }
}

impl Error for AttemptError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}
