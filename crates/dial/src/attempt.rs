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

use crate::socket::{SocketOptions, connect_error, is_connected_to_itself};

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
        let ended = connect_error(&stream).and_then(|()| {
            if is_connected_to_itself(&stream) {
                return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
            }
            Ok(())
        });
        match ended {
            Ok(()) => Ok(TokioIo::new(stream)),
            Err(error) => Err(AttemptError::new(Stage::Connect, self.addr, error)),
        }
    }
}

impl Future for TcpConnecting {
    type Output = Result<TokioIo<TcpStream>, AttemptError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let addr = self.addr;
        let stream = match std::mem::replace(&mut self.state, State::Done) {
            State::New(options) => options.connect(addr)?,
            State::Connecting(stream) => stream,
            State::Done => panic!("polled after it was ready"),
        };
        match stream.poll_write_ready(cx) {
            Poll::Pending => {
                self.state = State::Connecting(stream);
                Poll::Pending
            }
            Poll::Ready(Err(error)) => {
                Poll::Ready(Err(AttemptError::new(Stage::Connect, addr, error)))
            }
            Poll::Ready(Ok(())) => Poll::Ready(self.connected(stream)),
        }
    }
}

/// What went wrong in one attempt, and in which system call. Its source is the `io::Error`.
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
}

impl AttemptError {
    pub(crate) const fn new(stage: Stage, addr: SocketAddr, source: io::Error) -> Self {
        Self {
            stage,
            addr,
            source,
        }
    }

    /// The address that was to be connected to.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What kind of failure it is.
    ///
    /// No local port is left if `connect` says `EADDRNOTAVAIL` or `bind` to port 0 says
    /// `EADDRINUSE`; a `bind` that says `EADDRNOTAVAIL` was given an address that this machine does
    /// not have, which is [`Other`](ConnectErrorKind::Other).
    pub fn kind(&self) -> ConnectErrorKind {
        let missing = self.source.kind() == io::ErrorKind::AddrNotAvailable;
        match self.stage {
            Stage::Bind(_) if missing => ConnectErrorKind::Other,
            _ => ConnectErrorKind::of_io(&self.source),
        }
    }

    pub(crate) const fn is_bind(&self) -> bool {
        matches!(self.stage, Stage::Bind(_))
    }
}

impl fmt::Display for AttemptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stage {
            Stage::Socket => write!(f, "could not open a socket for {}", self.addr),
            Stage::Options => write!(f, "could not configure the socket for {}", self.addr),
            Stage::Bind(local) => write!(f, "could not bind to the local address {local}"),
            Stage::Connect => write!(f, "could not connect to {}", self.addr),
        }
    }
}

impl Error for AttemptError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}
