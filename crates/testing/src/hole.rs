//! Addresses that do not connect: one drops SYNs, one refuses.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::Socket;
use tokio::net::TcpStream;

use crate::deadline::within_real;
use crate::socket;

/// A connection attempt that takes longer than this on loopback was dropped: Linux sends the next
/// SYN only after a second.
const DROPPED_AFTER: Duration = Duration::from_millis(200);

/// A backlog of 0 lets one or two connections in; more than this means it does not fill up.
const FILL_MAX: usize = 16;

/// A black hole: an address that drops SYNs, so that connecting neither succeeds nor fails.
///
/// It is a listener that never accepts and whose backlog is full; that works on loopback and needs
/// no privilege (Linux). After about 130 s of retries the system gives a connect up.
#[derive(Debug)]
pub struct Hole {
    addr: SocketAddr,
    _listener: Socket,
    _filling: Vec<TcpStream>,
}

impl Hole {
    /// A black hole at any port of this address: `127.0.0.x` or `::1`.
    ///
    /// Takes a fifth of a second of real time. Under a paused clock, [`hold_clock`](crate::hold_clock)
    /// first if timers must not run meanwhile.
    ///
    /// # Panics
    ///
    /// If the address cannot be bound, or the backlog does not fill up.
    pub async fn start(ip: impl Into<IpAddr>) -> Self {
        let listener = Refused::start(ip);
        let addr = listener.addr;
        listener
            .socket
            .listen(0)
            .expect("a bound socket can listen");
        let mut filling = Vec::new();
        // In real time: a paused clock would run to the end of the limit before the kernel answers.
        while let Some(connected) = within_real(DROPPED_AFTER, TcpStream::connect(addr)).await {
            filling.push(connected.expect("a listener takes connections or drops them"));
            assert!(
                filling.len() <= FILL_MAX,
                "the backlog of {addr} does not fill up"
            );
        }
        Self {
            addr,
            _listener: listener.socket,
            _filling: filling,
        }
    }

    /// Returns the address that does not answer.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// An address that refuses connections, and that no other socket can take while this exists.
///
/// Its port is bound, but does not listen.
#[derive(Debug)]
pub struct Refused {
    addr: SocketAddr,
    socket: Socket,
}

impl Refused {
    /// A refusing address at any port of this one.
    ///
    /// # Panics
    ///
    /// If it cannot be bound.
    pub fn start(ip: impl Into<IpAddr>) -> Self {
        let ip = ip.into();
        let bound = socket::bind((ip, 0).into(), false);
        let socket = match bound {
            Ok(socket) => socket,
            Err(error) => panic!("cannot bind a port of {ip}: {error}"),
        };
        let addr = socket.local_addr().ok().and_then(|addr| addr.as_socket());
        Self {
            addr: addr.expect("a bound socket has an address"),
            socket,
        }
    }

    /// Returns the address that refuses connections.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[tokio::test]
    async fn a_hole_neither_connects_nor_refuses() {
        let (v4, v6) = tokio::join!(
            Hole::start(Ipv4Addr::new(127, 0, 0, 4)),
            Hole::start(Ipv6Addr::LOCALHOST),
        );
        for hole in [v4, v6] {
            let attempt = within_real(DROPPED_AFTER, TcpStream::connect(hole.addr())).await;
            assert!(attempt.is_none(), "{attempt:?}");
        }
    }

    #[tokio::test]
    async fn refused_address_keeps_refusing_and_stays_bound() {
        let refused = Refused::start(Ipv4Addr::LOCALHOST);
        for _ in 0..2 {
            let error = TcpStream::connect(refused.addr()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        }
        assert!(std::net::TcpListener::bind(refused.addr()).is_err());
    }
}
