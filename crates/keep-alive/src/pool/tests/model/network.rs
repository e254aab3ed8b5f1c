//! The connector of the model and the peers that it leads to: scripted, counted, in memory.

use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::io;
use std::panic;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::{Notify, oneshot};
use tollgate_core::lock::lock;
use tower::Service;

use super::ORIGINS;
use super::peer;

/// The course of a dial.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dial {
    Fails,
    Hangs,
    Panics,
    /// It waits until a step decides.
    Held,
    /// It fails for want of a local port.
    NoPort,
}

/// The protocols of the peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    Http1,
    Http2,
    /// Each connection agrees on what steps have decided.
    Either,
}

#[derive(Clone)]
pub(super) struct Network(Arc<Mutex<State>>);

#[derive(Default)]
pub(super) struct State {
    speaks: Option<Speaks>,
    /// The next connections speak HTTP/2.
    pub(super) http2: bool,
    /// The courses of the next dials; those after connect at once.
    pub(super) plans: VecDeque<Dial>,
    pub(super) held_dials: Vec<oneshot::Sender<bool>>,
    /// Sockets that are open, by origin.
    pub(super) live: [usize; ORIGINS],
    /// The exchanges that a peer holds, by call: sending lets them go on.
    pub(super) held: BTreeMap<usize, oneshot::Sender<()>>,
    /// The calls that have reached a peer, in their order.
    pub(super) arrived: Vec<usize>,
    /// Makes the peer of each connection close it.
    pub(super) closers: Vec<Arc<Notify>>,
}

impl Network {
    pub(super) fn new(speaks: Speaks) -> Self {
        Self(Arc::new(Mutex::new(State {
            speaks: Some(speaks),
            http2: speaks == Speaks::Http2,
            ..State::default()
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }

    /// Notes that a call has reached a peer.
    pub(super) fn arrive(&self, call: usize) {
        self.lock().arrived.push(call);
    }

    /// Waits until a step lets this call's exchange go on.
    pub(super) async fn hold(&self, call: usize) {
        let (release, released) = oneshot::channel();
        self.lock().held.insert(call, release);
        if released.await.is_err() {
            pending::<()>().await;
        }
    }

    fn connect(&self, origin: usize) -> Socket {
        let (near, far) = tokio::io::duplex(16 * 1024);
        let close = Arc::new(Notify::new());
        let mut state = self.lock();
        state.live[origin] += 1;
        state.closers.push(close.clone());
        let http2 = state.http2;
        drop(state);
        let network = self.clone();
        tokio::spawn(async move {
            if http2 {
                peer::streams(far, network, close).await;
            } else {
                peer::http1_sender(far, network, close).await;
            }
        });
        Socket {
            io: TokioIo::new(near),
            http2,
            _live: Live(self.clone(), origin),
        }
    }
}

impl State {
    /// The protocol of the next connections, if a step asks for one.
    pub(super) fn may_speak(&self, http2: bool) -> bool {
        match self.speaks {
            Some(Speaks::Either) => http2,
            _ => self.http2,
        }
    }
}

impl Service<Uri> for Network {
    type Response = Socket;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Socket>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let network = self.clone();
        Box::pin(async move {
            let plan = network.lock().plans.pop_front();
            match plan {
                None => {}
                Some(Dial::Fails) => return Err(io::ErrorKind::ConnectionRefused.into()),
                Some(Dial::NoPort) => return Err(io::ErrorKind::AddrNotAvailable.into()),
                Some(Dial::Hangs) => pending().await,
                // Without the hook, which would print each.
                Some(Dial::Panics) => panic::resume_unwind(Box::new("a dial")),
                Some(Dial::Held) => {
                    let (decide, decided) = oneshot::channel();
                    network.lock().held_dials.push(decide);
                    if decided.await != Ok(true) {
                        return Err(io::ErrorKind::ConnectionReset.into());
                    }
                }
            }
            Ok(network.connect(origin_of(&uri)))
        })
    }
}

fn origin_of(uri: &Uri) -> usize {
    let host = uri.host().unwrap();
    host.trim_end_matches(".test").parse().unwrap()
}

/// The near side of a connection.
pub(super) struct Socket {
    io: TokioIo<DuplexStream>,
    http2: bool,
    _live: Live,
}

/// Counts a socket out.
struct Live(Network, usize);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.lock().live[self.1] -= 1;
    }
}

impl Connection for Socket {
    fn connected(&self) -> Connected {
        if self.http2 {
            Connected::new().negotiated_h2()
        } else {
            Connected::new()
        }
    }
}

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
