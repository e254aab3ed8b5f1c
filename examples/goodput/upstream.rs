//! An upstream with so many workers, on loopback, that works on each request to its end whether or
//! not its caller is still there.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

/// Connections not accepted yet: enough for each caller.
const BACKLOG: u32 = 4_096;

/// Ends when it is dropped, with its connections.
pub(crate) struct Upstream {
    addr: SocketAddr,
    accepted: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Upstream {
    pub(crate) fn start(workers: usize, work: Duration) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let listener = socket.listen(BACKLOG)?;
        let addr = listener.local_addr()?;
        let accepted = Arc::new(AtomicU64::new(0));
        let workers = Workers {
            free: Arc::new(Semaphore::new(workers)),
            work,
        };
        let accepting = tokio::spawn(accept(listener, workers, accepted.clone()));
        Ok(Self {
            addr,
            accepted,
            accepting,
        })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Connections accepted so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, workers: Workers, accepted: Arc<AtomicU64>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        accepted.fetch_add(1, Relaxed);
        connections.spawn(workers.clone().serve(stream));
    }
}

#[derive(Clone)]
struct Workers {
    free: Arc<Semaphore>,
    work: Duration,
}

impl Workers {
    async fn serve(self, stream: TcpStream) {
        stream.set_nodelay(true).ok();
        let mut server = auto::Builder::new(TokioExecutor::new());
        server.http2().max_concurrent_streams(10_000);
        let service = service_fn(move |_: Request<Incoming>| self.clone().answer());
        // An error is the client's: it has left.
        let connection = server.serve_connection(TokioIo::new(stream), service);
        connection.await.ok();
    }

    async fn answer(self) -> Result<Response<Full<Bytes>>, Infallible> {
        // A task of its own, so that a client that disconnects does not end the work.
        let work = tokio::spawn(async move {
            let _worker = self.free.acquire_owned().await;
            tokio::time::sleep(self.work).await;
        });
        work.await.ok();
        Ok(Response::new(Full::new(Bytes::from_static(b"ok\n"))))
    }
}
