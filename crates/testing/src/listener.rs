//! A listener that hands its connections to a test.

use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use http::Uri;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::socket;

/// A burst of clients must not lose SYNs.
const BACKLOG: i32 = 1024;

/// A TCP listener whose connections are each served by a closure; stops to accept when dropped.
///
/// ```
/// # use tollgate_testing::Listener;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let closes = Listener::start(|stream| async move { drop(stream) });
/// assert_eq!(closes.accepted(), 0);
/// # }
/// ```
#[derive(Debug)]
pub struct Listener {
    addr: SocketAddr,
    accepted: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Listener {
    /// Listens on a free port of `127.0.0.1`, in the runtime that this is called in; each connection
    /// gets a task.
    ///
    /// # Panics
    ///
    /// If there is no port or no runtime.
    pub fn start<F>(each: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), each)
    }

    /// Listens, and sends nothing on its connections.
    pub fn silent() -> Self {
        Self::start(|stream| async move {
            // Dropped, it would be closed.
            let _held = stream;
            pending::<()>().await;
        })
    }

    /// Listens on this address.
    ///
    /// # Panics
    ///
    /// If the address cannot be bound.
    pub fn start_at<F>(addr: SocketAddr, each: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = socket::listen(addr, BACKLOG);
        let addr = listener.local_addr();
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&accepted);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(stream.set_nodelay(true));
                // Before it is served: a client that has its answer finds it counted.
                counter.fetch_add(1, SeqCst);
                tokio::spawn(each(stream));
            }
        });
        Self {
            addr: addr.expect("a bound socket has an address"),
            accepted,
            accepting,
        }
    }

    /// Its address.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A URI of scheme `http` for a path.
    ///
    /// # Panics
    ///
    /// If `path` is not the path of a URI.
    pub fn uri(&self, path: &str) -> Uri {
        let uri = format!("http://{}{path}", self.addr);
        uri.parse().expect("a path begins with a slash")
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
