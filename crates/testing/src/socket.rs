//! Listening sockets with a backlog that is asked for.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

/// A bound socket that does not listen yet.
///
/// Two sockets may share an address that both may reuse as long as neither listens, so `reuse` is
/// for those that will: their connections in `TIME_WAIT` then do not block a second bind.
pub(crate) fn bind(addr: SocketAddr, reuse: bool) -> io::Result<Socket> {
    bind_as(Type::STREAM, addr, reuse)
}

/// A bound socket for datagrams. Those that are all to be reused may share its address.
pub(crate) fn bind_udp(addr: SocketAddr) -> io::Result<Socket> {
    bind_as(Type::DGRAM, addr, true)
}

fn bind_as(kind: Type, addr: SocketAddr, reuse: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), kind, None)?;
    socket.set_reuse_address(reuse)?;
    // tokio takes over no socket that blocks.
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// A listener on `addr`, with this backlog as far as the system allows it.
pub(crate) fn try_listen(addr: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = bind(addr, true)?;
    socket.listen(backlog)?;
    TcpListener::from_std(socket.into())
}

pub(crate) fn listen(addr: SocketAddr, backlog: i32) -> TcpListener {
    match try_listen(addr, backlog) {
        Ok(listener) => listener,
        Err(error) => panic!("cannot listen on {addr}: {error}"),
    }
}
