//! HTTP/2: many requests on one connection, as many as the peer allows, and its ways to end.
#![allow(clippy::unwrap_used, reason = "tests")]

mod answered;
mod cancelled;
mod carried;
mod clocks;
mod cut;
mod ends;
mod limits;
mod long_streams;
mod losses;
mod memory;
mod peer;
mod pings;
mod reasons;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod windows;

use std::num::NonZeroUsize;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use hyper_util::client::legacy::connect::Connected;
use peer::Peer;
use support::{assert_at_rest, cap, fetch};
use tokio::task::JoinHandle;
use tollgate_core::{BoxError, Origin};
use tollgate_keep_alive::{Http2Options, KeepAlive, KeepAliveLayer, OriginStats};
use tollgate_testing::{Connector, within};
use tower::Layer;

/// A pool above a peer, with a connector that says that they have agreed on HTTP/2.
struct Stack {
    pool: KeepAlive,
    peer: Peer,
    connector: Connector,
    uri: Uri,
}

impl Stack {
    async fn new(allowed: Option<u32>, layer: &KeepAliveLayer) -> Self {
        let peer = Peer::start(allowed).await;
        let connector = Connector::tcp(peer.addr).connected(|| Connected::new().negotiated_h2());
        Self {
            pool: layer.layer(connector.clone()),
            uri: format!("https://{}/", peer.addr).parse().unwrap(),
            peer,
            connector,
        }
    }

    fn call(&self) -> JoinHandle<Result<Bytes, BoxError>> {
        let (pool, uri) = (self.pool.clone(), self.uri.clone());
        tokio::spawn(async move { fetch(&pool, &uri).await })
    }

    fn calls(&self, n: usize) -> Vec<JoinHandle<Result<Bytes, BoxError>>> {
        (0..n).map(|_| self.call()).collect()
    }

    fn stats(&self) -> OriginStats {
        let origin: Origin = self.uri.to_string().parse().unwrap();
        self.pool.stats(&origin).unwrap()
    }
}

fn streams(connections: usize, streams: usize) -> KeepAliveLayer {
    let n = |n| NonZeroUsize::new(n).unwrap();
    let options = Http2Options::new()
        .max_http2_connections(n(connections))
        .max_streams_per_connection(n(streams));
    cap(128).http2(options)
}

async fn all_ok(calls: Vec<JoinHandle<Result<Bytes, BoxError>>>) {
    for call in calls {
        assert_eq!(within(support::LONG, call).await.unwrap().unwrap(), "ok");
    }
}

/// Waits until something holds.
#[track_caller]
fn until(holds: impl Fn() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let mut turns = 0;
        while !holds() {
            turns += 1;
            assert!(turns < 10_000, "{caller}: never");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
