//! An HTTP/2 server that counts: hyper's, which lets four streams a connection wait at a gate.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tollgate_testing::Gate;

use crate::harness::Counted;

/// Streams a connection may have.
pub(crate) const STREAMS: u32 = 4;

/// What the server counts at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) accepted: usize,
    pub(crate) live: usize,
    pub(crate) draining: usize,
    pub(crate) streams: usize,
}

#[derive(Default)]
struct Board {
    accepted: AtomicUsize,
    live: Arc<AtomicUsize>,
    draining: Arc<AtomicUsize>,
    streams: Arc<AtomicUsize>,
}

pub(crate) struct Peer {
    addr: SocketAddr,
    board: Arc<Board>,
    /// How often connections were told to go away, and how often cut.
    orders: Arc<[watch::Sender<()>; 2]>,
    accepting: JoinHandle<()>,
}

impl Peer {
    pub(crate) async fn start(gate: Gate) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let board = Arc::new(Board::default());
        let orders = Arc::new([watch::Sender::new(()), watch::Sender::new(())]);
        let (counted, ordered) = (Arc::clone(&board), Arc::clone(&orders));
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.accepted.fetch_add(1, SeqCst);
                let live = Counted::new(Arc::clone(&counted.live));
                let (board, gate) = (Arc::clone(&counted), gate.clone());
                let [away, cut] = ordered.each_ref().map(watch::Sender::subscribe);
                tokio::spawn(async move {
                    serve(stream, board, gate, away, cut).await;
                    drop(live);
                });
            }
        });
        Self {
            addr,
            board,
            orders,
            accepting,
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn counts(&self) -> Counts {
        let board = &self.board;
        Counts {
            accepted: board.accepted.load(SeqCst),
            live: board.live.load(SeqCst),
            draining: board.draining.load(SeqCst),
            streams: board.streams.load(SeqCst),
        }
    }

    /// Every connection there is takes no more streams and ends with those that it has.
    pub(crate) fn go_away(&self) {
        self.orders[0].send_replace(());
    }

    /// Every connection there is ends at once.
    pub(crate) fn cut_all(&self) {
        self.orders[1].send_replace(());
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(
    stream: TcpStream,
    board: Arc<Board>,
    gate: Gate,
    mut away: watch::Receiver<()>,
    mut cut: watch::Receiver<()>,
) {
    let streams = Arc::clone(&board.streams);
    let answer = service_fn(move |_: Request<Incoming>| {
        let (counted, gate) = (Counted::new(Arc::clone(&streams)), gate.clone());
        async move {
            gate.wait().await;
            drop(counted);
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok"))))
        }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.max_concurrent_streams(STREAMS);
    let serving = builder.serve_connection(TokioIo::new(stream), answer);
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        _ = &mut serving => return,
        _ = cut.changed() => return,
        _ = away.changed() => {}
    }
    let _draining = Counted::new(Arc::clone(&board.draining));
    serving.as_mut().graceful_shutdown();
    tokio::select! {
        _ = serving => {}
        _ = cut.changed() => {}
    }
}
