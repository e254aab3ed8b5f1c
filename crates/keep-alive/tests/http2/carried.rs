//! An observer is told how many requests the connections of an origin carry at once.

use std::sync::Arc;

use tollgate_core::Event;
use tollgate_testing::{Recorder, Reply, Upstream};

use super::*;

/// Records every change of the number of streams.
fn changes() -> Arc<Recorder<(usize, usize)>> {
    Recorder::new(|event| match *event {
        Event::StreamsChanged { from, to, .. } => Some((from, to)),
        _ => None,
    })
}

#[tokio::test]
async fn stream_capacity_is_observed_as_it_changes() {
    let seen = changes();
    let layer = streams(2, 100).observer(seen.clone());
    let stack = Stack::new(Some(3), &layer).await;
    // The fourth needs a connection of its own.
    let calls = stack.calls(4);
    until(|| stack.peer.open().iter().sum::<usize>() == 4).await;
    assert_eq!(seen.seen(), [(0, 3), (3, 6)]);
    stack.peer.allow(0, 50);
    until(|| seen.seen().last() == Some(&(6, 53))).await;
    // One that drains carries no more.
    stack.peer.go_away(0, 3);
    until(|| seen.seen().last() == Some(&(53, 3))).await;
    stack.peer.answer_all();
    all_ok(calls).await;
    let Stack { pool, .. } = stack;
    drop(pool);
    until(|| seen.seen().last() == Some(&(3, 0))).await;
}

#[tokio::test]
async fn http1_connections_report_no_streams() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let seen = changes();
    let layer = cap(4).observer(seen.clone());
    let pool = layer.layer(Connector::tcp(upstream.addr()));
    assert_eq!(fetch(&pool, &upstream.uri("/")).await.unwrap(), "ok");
    drop(pool);
    upstream.settled(|stats| stats.live == 0).await;
    assert_eq!(seen.seen(), []);
}
