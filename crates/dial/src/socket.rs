//! Sockets and their options, before they connect.

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

/// Linux' `TCP_KEEPIDLE` and `TCP_KEEPINTVL` are whole seconds up to this.
const MAX_KEEPALIVE: u64 = 32_767;
/// Linux' `TCP_KEEPCNT` goes up to this.
const MAX_PROBES: u32 = 127;

/// An option and its origin: a default is set where the system has it, one that was asked for has to
/// be set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting<T> {
    value: T,
    asked_for: bool,
}

impl<T> Setting<T> {
    const fn default(value: T) -> Self {
        Self {
            value,
            asked_for: false,
        }
    }

    pub(crate) const fn asked_for(value: T) -> Self {
        Self {
            value,
            asked_for: true,
        }
    }

    fn set(&self, set: impl FnOnce(&T) -> io::Result<()>) -> io::Result<()> {
        set(&self.value).or_else(|error| if self.asked_for { Err(error) } else { Ok(()) })
    }
}

/// The options of every socket of one `Dial`.
#[derive(Clone, Debug)]
pub(crate) struct SocketOptions {
    pub(crate) nodelay: Setting<bool>,
    keepalive: Option<Setting<(Duration, u32)>>,
    user_timeout: Option<Setting<Duration>>,
    send_buffer: Option<usize>,
    recv_buffer: Option<usize>,
    pub(crate) local_v4: Option<Ipv4Addr>,
    pub(crate) local_v6: Option<Ipv6Addr>,
    pub(crate) interface: Option<Box<str>>,
}

impl SocketOptions {
    pub(crate) const DEFAULT: Self = Self {
        nodelay: Setting::default(true),
        keepalive: Some(Setting::default((KEEPALIVE_EVERY, KEEPALIVE_PROBES))),
        user_timeout: Some(Setting::default(USER_TIMEOUT)),
        send_buffer: None,
        recv_buffer: None,
        local_v4: None,
        local_v6: None,
        interface: None,
    };

    /// Clamped to what the system takes: out of range, every dial would fail.
    pub(crate) fn set_keepalive(&mut self, probes: Option<(Duration, u32)>) {
        self.keepalive = probes.map(|(every, probes)| {
            let seconds = every
                .as_secs()
                .saturating_add(u64::from(every.subsec_nanos() > 0));
            let every = Duration::from_secs(seconds.clamp(1, MAX_KEEPALIVE));
            Setting::asked_for((every, probes.clamp(1, MAX_PROBES)))
        });
    }

    /// Clamped likewise; the system takes milliseconds as a signed number, and 0 for its own timeout.
    pub(crate) fn set_user_timeout(&mut self, timeout: Option<Duration>) {
        self.user_timeout = timeout.map(|timeout| {
            let millis = timeout.as_millis().clamp(1, i32::MAX as u128);
            Setting::asked_for(Duration::from_millis(u64::try_from(millis).unwrap_or(1)))
        });
    }

    /// Clamped likewise; a buffer's size is a signed number.
    pub(crate) fn set_send_buffer(&mut self, size: Option<usize>) {
        self.send_buffer = size.map(clamp_size);
    }

    /// See [`set_send_buffer`](Self::set_send_buffer).
    pub(crate) fn set_recv_buffer(&mut self, size: Option<usize>) {
        self.recv_buffer = size.map(clamp_size);
    }

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
            // Under way is the rule: the end is known when the socket is writable.
            Err(error) if !under_way(&error) => return Err(AttemptError::connect(addr, error)),
            _ => {}
        }
        // Not before `connect`: epoll reports a socket that is not connecting as writable and hung
        // up, and the attempt would take that for its end.
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
        if self.nodelay.value {
            self.nodelay.set(|on| socket.set_tcp_nodelay(*on))?;
        }
        if let Some(probes) = &self.keepalive {
            probes.set(|(every, probes)| socket.set_tcp_keepalive(&keepalive(*every, *probes)))?;
        }
        if let Some(size) = self.send_buffer {
            socket.set_send_buffer_size(size)?;
        }
        if let Some(size) = self.recv_buffer {
            socket.set_recv_buffer_size(size)?;
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            if let Some(timeout) = &self.user_timeout {
                timeout.set(|timeout| socket.set_tcp_user_timeout(Some(*timeout)))?;
            }
            if let Some(interface) = &self.interface {
                socket.bind_device(Some(interface.as_bytes()))?;
            }
        }
        Ok(())
    }
}

fn clamp_size(size: usize) -> usize {
    size.min(i32::MAX as usize)
}

/// Returns `true` if this machine has no address to connect to `addr` from: the connect of a datagram
/// socket, which takes no port from TCP and sends nothing, fails as well.
pub(crate) fn has_no_source(addr: SocketAddr) -> bool {
    let probe = Socket::new(Domain::for_address(addr), Type::DGRAM, None)
        .and_then(|socket| socket.connect(&addr.into()));
    probe.is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
}

/// Returns `true` if a connected socket is connected to itself, which TCP allows: a local client that dials
/// a closed port in the ephemeral range may be given that very port.
pub(crate) fn is_connected_to_itself(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(local), Ok(peer)) if local == peer)
}

/// The error that a connect left on the socket, once that is writable.
pub(crate) fn connect_error(stream: &TcpStream) -> io::Result<()> {
    match SockRef::from(stream).take_error()? {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn open(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // Before `connect`, which would block this thread until the handshake is over.
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
    // `WSAEWOULDBLOCK`, which Windows returns for the same.
    error.kind() == io::ErrorKind::WouldBlock
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_explicit_unsupported_socket_option_fails() {
        let lacks = |_: &bool| Err(io::ErrorKind::Unsupported.into());
        assert!(Setting::default(true).set(lacks).is_ok());
        assert!(Setting::asked_for(true).set(lacks).is_err());
    }

    #[tokio::test]
    async fn socket_options_out_of_range_are_clamped() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        for extreme in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            for (probes, size) in [(0, 0), (u32::MAX, usize::MAX)] {
                let mut options = SocketOptions::DEFAULT;
                options.set_keepalive(Some((extreme, probes)));
                options.set_user_timeout(Some(extreme));
                options.set_send_buffer(Some(size));
                options.set_recv_buffer(Some(size));
                options.connect(addr).unwrap();
            }
        }
    }
}
