//! The server side: an HTTP/1 server on loopback that takes so many connections and works on so many
//! requests at once.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};

/// A pause after a failed accept, such as for want of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(10);

/// Connections not accepted yet: enough for each caller, since an overflow drops SYNs, which are
/// sent again only after a second.
const BACKLOG: u32 = 4_096;

/// The limits of an upstream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The time that each request takes.
    pub(crate) work: Duration,
    /// The most connections; further ones are accepted and closed at once, as nginx does when its
    /// `worker_connections` are used up.
    pub(crate) connections: u64,
    /// The most requests worked on at once; the others wait their turn, and are worked on whether or
    /// not their client is still there, as in any server with a pool of workers.
    pub(crate) workers: usize,
}

/// A running upstream; ends when dropped, with its connections.
pub(crate) struct Upstream {
    addr: SocketAddr,
    counters: Arc<Counters>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Counters {
    accepted: AtomicU64,
    live: AtomicU64,
    working: AtomicU64,
    worked: AtomicU64,
}

/// The counters of an upstream at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Connections accepted so far, those closed at once included.
    pub(crate) accepted: u64,
    /// Connections open now.
    pub(crate) live: u64,
    /// Requests worked on now.
    pub(crate) working: u64,
    /// Requests worked on to the end so far.
    pub(crate) worked: u64,
}

impl Upstream {
    pub(crate) fn start(limits: Limits) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let listener = socket.listen(BACKLOG)?;
        let addr = listener.local_addr()?;
        let counters = Arc::new(Counters::default());
        let accepting = tokio::spawn(accept(listener, limits, Arc::clone(&counters)));
        Ok(Self {
            addr,
            counters,
            accepting,
        })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn counts(&self) -> Counts {
        let counters = &self.counters;
        Counts {
            accepted: counters.accepted.load(Relaxed),
            live: counters.live.load(Relaxed),
            working: counters.working.load(Relaxed),
            worked: counters.worked.load(Relaxed),
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, limits: Limits, counters: Arc<Counters>) {
    let workers = Arc::new(Semaphore::new(limits.workers));
    // Dropped with this task, and the connections with it.
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_RETRY).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        counters.accepted.fetch_add(1, Relaxed);
        if counters.live.load(Relaxed) >= limits.connections {
            continue;
        }
        let live = Counted::new(&counters, |counters| &counters.live);
        connections.spawn(serve(stream, limits.work, Arc::clone(&workers), live));
    }
}

async fn serve(stream: TcpStream, work: Duration, workers: Arc<Semaphore>, live: Counted) {
    stream.set_nodelay(true).ok();
    let counters = &live.counters;
    let service = service_fn(|_| answer(work, Arc::clone(&workers), Arc::clone(counters)));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // An error is the client's: it has left.
    connection.await.ok();
}

async fn answer(
    work: Duration,
    workers: Arc<Semaphore>,
    counters: Arc<Counters>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (done, answer) = oneshot::channel();
    // A task of its own, so that a client that disconnects does not end the work.
    tokio::spawn(async move {
        let _worker = workers.acquire_owned().await;
        let working = Counted::new(&counters, |counters| &counters.working);
        tokio::time::sleep(work).await;
        drop(working);
        counters.worked.fetch_add(1, Relaxed);
        done.send(()).ok();
    });
    answer.await.ok();
    Ok(Response::new(Full::new(Bytes::from_static(b"ok\n"))))
}

/// Counts up, and down again when dropped.
struct Counted {
    counters: Arc<Counters>,
    which: fn(&Counters) -> &AtomicU64,
}

impl Counted {
    fn new(counters: &Arc<Counters>, which: fn(&Counters) -> &AtomicU64) -> Self {
        which(counters).fetch_add(1, Relaxed);
        Self {
            counters: Arc::clone(counters),
            which,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.which)(&self.counters).fetch_sub(1, Relaxed);
    }
}
