//! Unix sockets behind named hosts.

#[cfg(unix)]
mod imp {
    use std::io;
    use std::path::Path;

    use hyper_util::rt::TokioIo;
    use socket2::{Domain, SockAddr, Socket, Type};
    use tokio::net::UnixStream;

    pub(crate) type UnixIo = TokioIo<UnixStream>;

    /// Unlike TCP, this does not wait: the socket is connected, or there is an error. `WouldBlock`
    /// means that its backlog is full.
    pub(crate) fn connect(path: &Path) -> io::Result<UnixIo> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // Before `connect`: a full backlog is an error then, and blocks no thread.
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)?;
        UnixStream::from_std(socket.into()).map(TokioIo::new)
    }
}

#[cfg(not(unix))]
mod imp {
    use std::io;
    use std::path::Path;

    /// The platform has none: a TCP stream that is never made stands in for it.
    pub(crate) type UnixIo = hyper_util::rt::TokioIo<tokio::net::TcpStream>;

    pub(crate) fn connect(_: &Path) -> io::Result<UnixIo> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

pub(crate) use imp::{UnixIo, connect};
