//! A fast, well-behaved upstream for load.

use std::convert::Infallible;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::select;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::board::Board;
use crate::gate::Gate;
use crate::socket;

/// The line of connections not yet accepted: a burst of clients must not lose SYNs.
const BACKLOG: i32 = 4096;

/// The pause after a failed accept, such as for want of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(10);

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
    /// The address to listen on, `127.0.0.1:0` unless told; port 0 means any.
    pub fn bind(mut self, addr: impl Into<SocketAddr>) -> Self {
        self.bind = addr.into();
        self
    }

    /// How long each request takes, nothing unless told; in tokio's time.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// The body of each response, `ok` unless told.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Whether connections serve more than one request; they do unless told.
    pub fn keep_alive(mut self, keep_alive: bool) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Starts to listen.
    ///
    /// # Panics
    ///
    /// If the address cannot be bound.
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

    /// Where it listens.
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
        self.host.stop.open();
    }
}

struct Host {
    latency: Duration,
    body: Bytes,
    keep_alive: bool,
    board: Board<Stats>,
    stop: Gate,
}

async fn accept(listener: TcpListener, host: Arc<Host>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_RETRY).await;
            continue;
        };
        drop(stream.set_nodelay(true));
        host.board.update(|stats| {
            stats.accepted += 1;
            stats.live += 1;
            stats.peak_live = stats.peak_live.max(stats.live);
        });
        let live = Counted(Arc::clone(&host), |stats| stats.live -= 1);
        tokio::spawn(serve(stream, live));
    }
}

async fn serve(stream: TcpStream, live: Counted) {
    let host = Arc::clone(&live.0);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(host.keep_alive)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(|request| answer(Arc::clone(&host), request)),
        );
    // How a connection ends is the client's affair; the counters tell that it did. Both futures,
    // and with them the socket, are gone before it is counted out.
    drop(select(connection, Box::pin(host.stop.wait())).await);
    drop(live);
}

async fn answer(
    host: Arc<Host>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    host.board.update(|stats| {
        stats.requests += 1;
        stats.in_flight += 1;
        stats.peak_in_flight = stats.peak_in_flight.max(stats.in_flight);
    });
    let answering = Counted(Arc::clone(&host), |stats| stats.in_flight -= 1);
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    if !host.latency.is_zero() {
        tokio::time::sleep(host.latency).await;
    }
    let response = Response::new(Full::new(host.body.clone()));
    drop(answering);
    Ok(response)
}

/// Counts something out when it is dropped.
struct Counted(Arc<Host>, fn(&mut Stats));

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.board.update(self.1);
    }
}

#[cfg(test)]
mod tests {
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;

    use super::*;
    use crate::Connector;

    #[tokio::test]
    async fn a_burst_of_clients_is_served_and_counted() {
        let upstream = Plain::builder()
            .latency(Duration::from_millis(5))
            .body("hello")
            .start()
            .await;
        let client = Client::builder(TokioExecutor::new())
            .build::<_, Full<Bytes>>(Connector::tcp(upstream.addr()));
        let requests = (0..64).map(|_| {
            let (client, uri) = (client.clone(), upstream.uri("/"));
            tokio::spawn(async move {
                for _ in 0..4 {
                    let response = client.get(uri.clone()).await.unwrap();
                    let body = response.into_body().collect().await.unwrap();
                    assert_eq!(body.to_bytes(), "hello");
                }
            })
        });
        for request in requests.collect::<Vec<_>>() {
            request.await.unwrap();
        }
        let stats = upstream.stats();
        assert_eq!((stats.requests, stats.in_flight), (256, 0));
        assert!(stats.peak_live >= 2 && stats.peak_live <= stats.accepted);
        drop(client);
        upstream.settled(|stats| stats.live == 0).await;
    }

    #[tokio::test]
    async fn without_keep_alive_each_request_is_a_connection_of_its_own() {
        let upstream = Plain::builder().keep_alive(false).start().await;
        let client = Client::builder(TokioExecutor::new())
            .build::<_, Full<Bytes>>(Connector::tcp(upstream.addr()));
        for _ in 0..3 {
            let response = client.get(upstream.uri("/")).await.unwrap();
            drop(response.into_body().collect().await.unwrap());
        }
        assert_eq!(upstream.stats().accepted, 3);
        upstream.settled(|stats| stats.live == 0).await;
    }
}
