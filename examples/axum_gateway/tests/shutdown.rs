//! The end: what is let finish, what is cut, what is said of it.

use std::time::Duration;

use axum::Router;
use tollgate::{Client, Protocol};
use tollgate_testing::{DEADLINE, Gate, Reply, Upstream};

use super::support::{Site, serve};
use crate::proxy::Drained;

/// A gateway with one connection to an upstream that answers when the gate opens.
async fn gated(limit: Duration) -> (Site, Gate, Upstream) {
    let gate = Gate::new();
    let reply = Reply::chunked().chunk("hello").wait(&gate).end_chunks();
    let upstream = Upstream::start(move |_| reply.clone()).await;
    let one = Client::builder().max_connections_per_origin(1);
    (
        Site::with(upstream.uri("/"), one, limit).await,
        gate,
        upstream,
    )
}

#[tokio::test]
async fn what_runs_and_what_waits_may_end() {
    let (site, gate, _upstream) = gated(DEADLINE).await;
    let mut running = site.get("").await;
    gate.reached(1).await;
    let mut waiting = site.get("").await;
    site.queued(1).await;

    let stopping = site.stop();
    stopping.takes_no_callers().await;
    gate.open();
    for caller in [&mut running, &mut waiting] {
        assert_eq!(caller.head().await.status(), 200);
        assert_eq!(caller.rest().await, "5\r\nhello\r\n0\r\n\r\n");
    }
    assert_eq!(stopping.stopped().await, Drained::default());
}

#[tokio::test]
async fn drain_counts_the_exchanges_cut_and_refused() {
    let (site, gate, upstream) = gated(Duration::ZERO).await;
    let mut running = site.get("").await;
    gate.reached(1).await;
    assert_eq!(running.head().await.status(), 200);
    let mut waiting = [site.get("").await, site.get("").await];
    site.queued(2).await;

    let drained = site.stop().stopped().await;
    assert_eq!(drained, Drained { cut: 1, refused: 2 });
    assert_eq!(
        drained.to_string(),
        "1 exchanges cut, 2 refused while they waited"
    );
    assert_eq!(running.rest().await, "5\r\nhello\r\n", "no end is made up");
    for caller in &mut waiting {
        assert_eq!(caller.head().await.status(), 503);
        assert_eq!(caller.rest().await, "closed");
    }
    upstream.settled(|stats| stats.live == 0).await;
}

#[tokio::test]
async fn unfinished_request_head_does_not_delay_shutdown() {
    let (site, gate, _upstream) = gated(Duration::ZERO).await;
    gate.open();
    let mut slow = site.get("").await;
    slow.head().await;
    assert_eq!(slow.bytes(15).await, "5\r\nhello\r\n0\r\n\r\n");
    slow.send("GET / HTT").await;
    assert_eq!(site.stop().stopped().await, Drained::default());
}

#[tokio::test]
async fn drain_counts_each_http2_stream_cut() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = async move || held.wait().await;
    let upstream = serve(Router::new().fallback(upstream)).await;
    let streams = Client::builder().protocol(Protocol::Http2);
    let site = Site::with(upstream, streams, Duration::ZERO).await;
    let _callers = [site.get("").await, site.get("").await];
    gate.reached(2).await;
    let drained = site.stop().stopped().await;
    assert_eq!(drained, Drained { cut: 2, refused: 0 });
}
