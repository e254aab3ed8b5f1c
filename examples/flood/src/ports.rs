//! A connector whose sockets have few local ports, so that running out of them takes a moment
//! instead of twenty-eight thousand connections.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;
use tower_service::Service;

/// After a search through all ports found none free, a dial tries one port only, so that a crowd of
/// dials does not spend the processor on searching.
const SEARCH_AGAIN: Duration = Duration::from_millis(20);

/// Connects from the ports of a range, as the kernel does from those of `ip_local_port_range`: one
/// after the other, until one is free. The kernel's verdict on each is real (`EADDRNOTAVAIL` for a
/// port whose pair of addresses is in use or in TIME_WAIT). Clones share the range.
#[derive(Clone, Debug)]
pub(crate) struct FewPorts {
    to: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    ports: Range<u16>,
    next: AtomicUsize,
    born: Instant,
    /// In milliseconds since `born`.
    search_again: AtomicU64,
}

impl FewPorts {
    pub(crate) fn new(to: SocketAddr, ports: Range<u16>) -> Self {
        let shared = Shared {
            ports,
            next: AtomicUsize::new(0),
            born: Instant::now(),
            search_again: AtomicU64::new(0),
        };
        Self {
            to,
            shared: Arc::new(shared),
        }
    }

    async fn connect(self) -> io::Result<TokioIo<TcpStream>> {
        let shared = &*self.shared;
        let searching = shared.now() >= shared.search_again.load(Relaxed);
        let tries = if searching { shared.ports.len() } else { 1 };
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for _ in 0..tries {
            let socket = TcpSocket::new_v4()?;
            // A port in TIME_WAIT can be bound again; whether it can be *connected* is the question.
            socket.set_reuseaddr(true)?;
            let connected = match socket.bind((Ipv4Addr::LOCALHOST, shared.next()).into()) {
                Ok(()) => socket.connect(self.to).await,
                Err(error) => Err(error),
            };
            match connected {
                Ok(stream) => return stream.set_nodelay(true).map(|()| TokioIo::new(stream)),
                Err(error) if is_taken(&error) => last = error,
                Err(error) => return Err(error),
            }
        }
        let again = SEARCH_AGAIN.as_millis().try_into().unwrap_or(u64::MAX);
        if searching {
            shared.search_again.store(shared.now() + again, Relaxed);
        }
        Err(last)
    }
}

/// The two ways in which the kernel reports that a local port is in use.
fn is_taken(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrInUse, AddrNotAvailable};
    matches!(error.kind(), AddrInUse | AddrNotAvailable)
}

impl Shared {
    fn next(&self) -> u16 {
        let nth = self.next.fetch_add(1, Relaxed) % self.ports.len();
        self.ports.start + u16::try_from(nth).expect("less than the length of a range of ports")
    }

    fn now(&self) -> u64 {
        let elapsed = self.born.elapsed().as_millis();
        elapsed.try_into().unwrap_or(u64::MAX)
    }
}

impl Service<Uri> for FewPorts {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<TcpStream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_range_in_use_is_address_not_available() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let to = listener.local_addr().unwrap();
        let connector = FewPorts::new(to, 21_000..21_003);
        let mut open = Vec::new();
        while let Ok(stream) = connector.clone().connect().await {
            open.push(stream);
            assert!(open.len() <= 3);
        }
        let error = connector.connect().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
        assert!(!open.is_empty());
    }
}
