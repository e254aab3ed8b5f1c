//! Addresses that stay with a test while nothing listens on them.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::Socket;
#[cfg(any(test, feature = "dns"))]
use tokio::net::{TcpListener, UdpSocket};

use crate::socket;

/// The number of ports that are tried for one that is free for both transports.
const PORT_TRIES: usize = 64;

/// A port of TCP and UDP that refuses, and that the system gives to nobody else while this exists.
///
/// A server that asks for the port by its number, with `SO_REUSEADDR` as most do, gets it, and may
/// stop and start as often as it likes. Without this, a connection or a query that goes out from
/// this machine may be given the port in between.
#[derive(Debug)]
pub struct HeldPort {
    tcp: HeldTcp,
    _udp: Socket,
}

impl HeldPort {
    /// Any port of this address.
    ///
    /// # Panics
    ///
    /// If none is free for both transports.
    pub fn start(ip: impl Into<IpAddr>) -> Self {
        Self::start_at((ip.into(), 0).into())
    }

    /// This address and port; port 0 is any.
    ///
    /// # Panics
    ///
    /// If it is not free for both transports.
    pub(crate) fn start_at(addr: SocketAddr) -> Self {
        let mut last = None;
        for _ in 0..PORT_TRIES {
            match Self::try_start_at(addr) {
                Ok(held) => return held,
                Err(error) => last = Some(error),
            }
            // A port that was asked for does not fall free by another try.
            if addr.port() != 0 {
                break;
            }
        }
        panic!("no port of {addr} is free for UDP and TCP: {last:?}");
    }

    fn try_start_at(addr: SocketAddr) -> io::Result<Self> {
        let tcp = HeldTcp::start_at(addr)?;
        let addr = tcp.addr();
        let udp = socket::bind_udp(addr)?;
        // A socket that hears itself alone leaves all datagrams to the server, or to be refused.
        udp.connect(&addr.into())?;
        Ok(Self { tcp, _udp: udp })
    }

    /// Returns the address.
    pub const fn addr(&self) -> SocketAddr {
        self.tcp.addr()
    }

    /// Listens on it with both transports.
    #[cfg(any(test, feature = "dns"))]
    pub(crate) fn listen(&self, backlog: i32) -> io::Result<(UdpSocket, TcpListener)> {
        let udp = UdpSocket::from_std(socket::bind_udp(self.addr())?.into())?;
        Ok((udp, socket::try_listen(self.addr(), backlog)?))
    }
}

/// As [`HeldPort`], of TCP alone.
#[derive(Debug)]
pub(crate) struct HeldTcp {
    addr: SocketAddr,
    /// Bound and never listening: with `SO_REUSEADDR` on both, a listener may be beside it.
    _socket: Socket,
}

impl HeldTcp {
    pub(crate) fn start_at(addr: SocketAddr) -> io::Result<Self> {
        let socket = socket::bind(addr, true)?;
        let addr = socket.local_addr()?.as_socket();
        Ok(Self {
            addr: addr.ok_or(io::ErrorKind::AddrNotAvailable)?,
            _socket: socket,
        })
    }

    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::iter;
    use std::net::Ipv4Addr;

    use tokio::net::TcpStream;

    use super::*;
    use crate::deadline::{DEADLINE, within};
    use crate::namespace;

    async fn assert_refuses(addr: SocketAddr) {
        let error = TcpStream::connect(addr).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let client = UdpSocket::bind((addr.ip(), 0)).await.unwrap();
        client.connect(addr).await.unwrap();
        client.send(b"hello").await.unwrap();
        let heard = within(DEADLINE, client.recv(&mut [0; 8])).await;
        assert_eq!(heard.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_held_port_refuses_until_a_server_listens() {
        let port = HeldPort::start(Ipv4Addr::LOCALHOST);
        for _ in 0..2 {
            assert_refuses(port.addr()).await;
            let (udp, tcp) = port.listen(8).unwrap();
            let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            client.send_to(b"hello", port.addr()).await.unwrap();
            let heard = within(DEADLINE, udp.recv_from(&mut [0; 8])).await.unwrap();
            assert_eq!(heard.1, client.local_addr().unwrap());
            let near = TcpStream::connect(port.addr()).await.unwrap();
            let accepted = within(DEADLINE, tcp.accept()).await.unwrap();
            assert_eq!(accepted.1, near.local_addr().unwrap());
        }
    }

    // A name server that a test stops for a second found its port taken by another's query.
    #[test]
    fn the_system_gives_a_held_port_to_nobody() {
        if !namespace::enter("held::tests::the_system_gives_a_held_port_to_nobody") {
            return;
        }
        namespace::set("net/ipv4/ip_local_port_range", "40000 40007");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let held = HeldPort::start(any.ip());
        let others: Vec<_> = iter::from_fn(|| std::net::TcpListener::bind(any).ok()).collect();
        let queries: Vec<_> = iter::from_fn(|| std::net::UdpSocket::bind(any).ok()).collect();
        assert_eq!((others.len(), queries.len()), (7, 7));
        let mut taken = others.iter().map(|socket| socket.local_addr().unwrap());
        assert!(taken.all(|addr| addr != held.addr()));
        let mut taken = queries.iter().map(|socket| socket.local_addr().unwrap());
        assert!(taken.all(|addr| addr != held.addr()));
        assert!(socket::bind(any, false).is_err());
        let everywhere = (Ipv4Addr::UNSPECIFIED, held.addr().port());
        assert!(std::net::UdpSocket::bind(everywhere).is_err());
    }
}
