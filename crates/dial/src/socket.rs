//! How a socket is made and configured before it connects.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::TcpStream;

use crate::attempt::{AttemptError, Stage};

/// reqwest 0.13: `tcp_keepalive` of 15 s, again after 15 s, three times.
pub(crate) const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
/// See [`KEEPALIVE_EVERY`].
pub(crate) const KEEPALIVE_PROBES: u32 = 3;
/// reqwest 0.13: `tcp_user_timeout` of 30 s.
pub(crate) const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// The options of every socket of one `Dial`.
#[derive(Clone, Debug)]
pub(crate) struct SocketOptions {
    pub(crate) nodelay: bool,
    pub(crate) keepalive: Option<(Duration, u32)>,
    pub(crate) user_timeout: Option<Duration>,
    pub(crate) send_buffer: Option<usize>,
    pub(crate) recv_buffer: Option<usize>,
    pub(crate) local_v4: Option<Ipv4Addr>,
    pub(crate) local_v6: Option<Ipv6Addr>,
    pub(crate) interface: Option<Box<str>>,
}

impl SocketOptions {
    pub(crate) const DEFAULT: Self = Self {
        nodelay: true,
        keepalive: Some((KEEPALIVE_EVERY, KEEPALIVE_PROBES)),
        user_timeout: Some(USER_TIMEOUT),
        send_buffer: None,
        recv_buffer: None,
        local_v4: None,
        local_v6: None,
        interface: None,
    };

    /// Makes a socket, configures it and begins to connect it. Must run in a tokio runtime.
    pub(crate) fn connect(&self, addr: SocketAddr) -> Result<TcpStream, AttemptError> {
        let at = |stage| move |error| AttemptError::new(stage, addr, error);
        let socket = open(addr).map_err(at(Stage::Socket))?;
        self.configure(&socket).map_err(at(Stage::Options))?;
        if let Some(local) = self.local(addr) {
            bind(&socket, local)
                .map_err(|error| AttemptError::new(Stage::Bind(local), addr, error))?;
        }
        match socket.connect(&addr.into()) {
            Err(error) if !under_way(&error) => return Err(at(Stage::Connect)(error)),
            _ => {}
        }
        TcpStream::from_std(socket.into()).map_err(at(Stage::Socket))
    }

    /// The local address for a destination, if one of its family is set.
    fn local(&self, addr: SocketAddr) -> Option<IpAddr> {
        if addr.is_ipv4() {
            self.local_v4.map(IpAddr::V4)
        } else {
            self.local_v6.map(IpAddr::V6)
        }
    }

    /// Buffers before connecting: the window scale is settled in the handshake.
    fn configure(&self, socket: &Socket) -> io::Result<()> {
        if self.nodelay {
            socket.set_tcp_nodelay(true)?;
        }
        if let Some((every, probes)) = self.keepalive {
            socket.set_tcp_keepalive(&keepalive(every, probes))?;
        }
        if let Some(size) = self.send_buffer {
            socket.set_send_buffer_size(size)?;
        }
        if let Some(size) = self.recv_buffer {
            socket.set_recv_buffer_size(size)?;
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            if let Some(timeout) = self.user_timeout {
                socket.set_tcp_user_timeout(Some(timeout))?;
            }
            if let Some(interface) = &self.interface {
                socket.bind_device(Some(interface.as_bytes()))?;
            }
        }
        Ok(())
    }
}

/// Whether a connected socket is connected to itself, which TCP allows: a local client that dials
/// a closed port in the ephemeral range may be given that very port.
pub(crate) fn is_connected_to_itself(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(local), Ok(peer)) if local == peer)
}

/// What the connect left behind, once the socket is writable.
pub(crate) fn connect_error(stream: &TcpStream) -> io::Result<()> {
    match SockRef::from(stream).take_error()? {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn open(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn keepalive(every: Duration, probes: u32) -> TcpKeepalive {
    let keepalive = TcpKeepalive::new().with_time(every).with_interval(every);
    if cfg!(windows) {
        keepalive
    } else {
        keepalive.with_retries(probes)
    }
}

/// Without `IP_BIND_ADDRESS_NO_PORT` the bind takes a port away from every destination, since it
/// cannot know which one is meant; with it, ports run out for one destination at a time. Where the
/// kernel does not know the option (Linux before 4.2), the bind works as it always did.
fn bind(socket: &Socket, local: IpAddr) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _unknown_before_4_2 = nix::sys::socket::setsockopt(
        socket,
        nix::sys::socket::sockopt::IpBindAddressNoPort,
        &true,
    );
    socket.bind(&SocketAddr::new(local, 0).into())
}

fn under_way(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32) {
        return true;
    }
    error.kind() == io::ErrorKind::WouldBlock
}
