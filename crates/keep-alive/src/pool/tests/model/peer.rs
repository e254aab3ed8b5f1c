//! The far side of one connection. The target of a request says what it does: `/CALL/KIND`.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::Notify;

use super::network::Network;

/// The course of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Answered at once.
    Ok,
    /// Answered when a step lets it.
    Held,
    /// The head and a half of the body at once, the rest when a step lets it.
    Half,
    /// Answered at once, and the connection is not to be used again.
    Last,
    /// The connection is closed without an answer.
    Lost,
}

/// The streams that a connection of HTTP/2 takes at once.
pub(super) const STREAMS: usize = 2;

const KINDS: [Kind; 5] = [Kind::Ok, Kind::Held, Kind::Half, Kind::Last, Kind::Lost];

impl Kind {
    pub(super) fn path(self, call: usize) -> String {
        format!("/{call}/{}", self as usize)
    }
}

fn read_target(target: &str) -> (usize, Kind) {
    let (call, kind) = target.trim_start_matches('/').split_once('/').unwrap();
    (call.parse().unwrap(), KINDS[kind.parse::<usize>().unwrap()])
}

/// Serves a connection of HTTP/1.1 until either side closes it.
pub(super) async fn http1_sender(mut io: DuplexStream, network: Network, close: Arc<Notify>) {
    let mut read = vec![0; 1024];
    loop {
        let arrived = tokio::select! {
            biased;
            () = close.notified() => return,
            arrived = io.read(&mut read) => arrived,
        };
        let Ok(length @ 1..) = arrived else { return };
        let head = String::from_utf8_lossy(&read[..length]);
        let target = head.split(' ').nth(1).unwrap();
        let (call, kind) = read_target(target);
        network.arrive(call);
        let exchange = answer(&mut io, &network, call, kind);
        tokio::select! {
            biased;
            () = close.notified() => return,
            goes_on = exchange => if !goes_on { return },
        }
    }
}

/// Answers one request; `false` if the connection ends with it.
async fn answer(io: &mut DuplexStream, network: &Network, call: usize, kind: Kind) -> bool {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n";
    let released = async |io: &mut DuplexStream| {
        let mut more = [0; 1];
        tokio::select! {
            biased;
            () = network.hold(call) => true,
            _gone = io.read(&mut more) => false,
        }
    };
    let written = match kind {
        Kind::Ok => io.write_all(&[HEAD, b"done"].concat()).await,
        Kind::Held if released(io).await => io.write_all(&[HEAD, b"done"].concat()).await,
        Kind::Half => {
            if io.write_all(&[HEAD, b"do"].concat()).await.is_err() || !released(io).await {
                return false;
            }
            io.write_all(b"ne").await
        }
        Kind::Last => {
            let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\ndone";
            drop(io.write_all(head).await);
            return false;
        }
        Kind::Held | Kind::Lost => return false,
    };
    written.is_ok()
}

/// Serves a connection of HTTP/2 until either side closes it.
pub(super) async fn streams(io: DuplexStream, network: Network, close: Arc<Notify>) {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(u32::try_from(STREAMS).unwrap());
    let Ok(mut server) = builder.handshake::<_, Bytes>(io).await else {
        return;
    };
    loop {
        let accepted = tokio::select! {
            biased;
            () = close.notified() => {
                server.graceful_shutdown();
                continue;
            }
            accepted = server.accept() => accepted,
        };
        let Some(Ok((request, mut respond))) = accepted else {
            return;
        };
        let (call, kind) = read_target(request.uri().path());
        network.arrive(call);
        match kind {
            Kind::Lost => {
                server.abrupt_shutdown(h2::Reason::INTERNAL_ERROR);
                continue;
            }
            Kind::Last => server.graceful_shutdown(),
            _ => {}
        }
        let network = network.clone();
        tokio::spawn(async move {
            if kind == Kind::Held {
                network.hold(call).await;
            }
            let Ok(mut stream) = respond.send_response(Response::new(()), false) else {
                return;
            };
            if kind == Kind::Half {
                drop(stream.send_data(Bytes::from_static(b"do"), false));
                network.hold(call).await;
            }
            drop(stream.send_data(Bytes::from_static(b"done"), true));
        });
    }
}
