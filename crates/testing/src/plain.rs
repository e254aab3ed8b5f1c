//! A fast, well-behaved upstream for load.

mod serve;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use tokio::task::JoinHandle;

use crate::board::Board;
use crate::gate::Gate;
use crate::socket;
use serve::{Host, accept};

/// The line of connections not yet accepted: a burst of clients must not lose SYNs.
const BACKLOG: i32 = 4096;

/// A hyper server's counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections accepted so far.
    pub accepted: usize,
    /// Connections that are open on this side.
    pub live: usize,
    /// The most that were open at once.
    pub peak_live: usize,
    /// Requests so far.
    pub requests: usize,
    /// Requests that are being answered.
    pub in_flight: usize,
    /// The most that were being answered at once.
    pub peak_in_flight: usize,
}

/// A plain upstream to be; made by [`Plain::builder`].
#[derive(Debug)]
#[must_use = "nothing listens before start"]
pub struct Builder {
    bind: SocketAddr,
    latency: Duration,
    body: Bytes,
    keep_alive: bool,
}

impl Builder {
    /// The address to listen on, by default `127.0.0.1:0`; port 0 means any.
    pub fn bind(mut self, addr: impl Into<SocketAddr>) -> Self {
        self.bind = addr.into();
        self
    }

    /// Sets the time that each request takes, in tokio's time. Default: none.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// The body of each response, by default `ok`.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets whether connections serve more than one request. Default: they do.
    pub fn keep_alive(mut self, keep_alive: bool) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Starts to listen.
    ///
    /// # Panics
    ///
    /// If the address cannot be bound.
    #[expect(clippy::unused_async, reason = "it needs the runtime it is awaited in")]
    pub async fn start(self) -> Plain {
        let listener = socket::listen(self.bind, BACKLOG);
        let addr = listener.local_addr();
        let addr = addr.expect("a bound socket has an address");
        let host = Arc::new(Host {
            latency: self.latency,
            body: self.body,
            keep_alive: self.keep_alive,
            board: Board::default(),
            stop: Gate::new(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&host)));
        Plain {
            addr,
            host,
            accepting,
        }
    }
}

/// A well-behaved hyper HTTP/1 server; stops, with all its connections, when dropped.
///
/// ```
/// # use std::time::Duration;
/// # use tollgate_testing::Plain;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let upstream = Plain::builder().latency(Duration::from_millis(2)).start().await;
/// let uri = upstream.uri("/");
/// // … thousands of requests …
/// # drop(uri);
/// assert!(upstream.stats().peak_live <= 64);
/// # }
/// ```
pub struct Plain {
    addr: SocketAddr,
    host: Arc<Host>,
    accepting: JoinHandle<()>,
}

impl Plain {
    /// A plain upstream to be configured.
    pub fn builder() -> Builder {
        Builder {
            bind: (Ipv4Addr::LOCALHOST, 0).into(),
            latency: Duration::ZERO,
            body: Bytes::from_static(b"ok"),
            keep_alive: true,
        }
    }

    /// Returns the address of the server.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URI of a path that starts with `/`.
    ///
    /// # Panics
    ///
    /// If `path` is none.
    pub fn uri(&self, path: &str) -> Uri {
        let uri = format!("http://{}{path}", self.addr).parse();
        uri.expect("the path makes a URI")
    }

    /// The counters now.
    pub fn stats(&self) -> Stats {
        self.host.board.read(|stats| *stats)
    }

    /// Waits until `holds` is true of the counters, and gives them.
    ///
    /// # Panics
    ///
    /// After [`DEADLINE`](crate::DEADLINE) of real time, with the counters.
    #[track_caller]
    pub fn settled(&self, holds: impl FnMut(&Stats) -> bool) -> impl Future<Output = Stats> {
        let caller = Location::caller();
        self.host.board.until(caller, |stats| *stats, holds)
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plain")
            .field("addr", &self.addr)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.accepting.abort();
        // Connections are tasks of their own, which end by this.
        self.host.stop.open();
    }
}
