//! Accepting and answering.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::select;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use super::Stats;
use crate::board::Board;
use crate::gate::Gate;

/// The pause after a failed accept, such as for want of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(10);

pub(super) struct Host {
    pub(super) latency: Duration,
    pub(super) body: Bytes,
    pub(super) keep_alive: bool,
    pub(super) board: Board<Stats>,
    pub(super) stop: Gate,
}

pub(super) async fn accept(listener: TcpListener, host: Arc<Host>) {
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
        // Not in the task, which may be dropped before its first poll.
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
    // How a connection ends is the client's affair; the counters show that it did. Both futures,
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
    // To its end: hyper may close a connection whose request was not read.
    while let Some(Ok(_)) = body.frame().await {}
    if !host.latency.is_zero() {
        tokio::time::sleep(host.latency).await;
    }
    let response = Response::new(Full::new(host.body.clone()));
    // Before the response goes out: a client that has it finds it counted out.
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
