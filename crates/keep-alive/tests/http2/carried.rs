//! An observer is told how many requests the connections of an origin carry at once.

use std::sync::{Arc, Mutex};

use tollgate_core::{Event, Observer};
use tollgate_testing::{Reply, Upstream};

use super::*;

/// Every change of the number of streams.
#[derive(Default)]
struct Streams(Mutex<Vec<(usize, usize)>>);

impl Streams {
    fn told(&self) -> Vec<(usize, usize)> {
        self.0.lock().unwrap().clone()
    }
}

impl Observer for Streams {
    fn on_event(&self, event: &Event<'_>) {
        if let Event::StreamsChanged { from, to, .. } = *event {
            self.0.lock().unwrap().push((from, to));
        }
    }
}

#[tokio::test]
async fn what_connections_carry_is_told_as_they_come_change_drain_and_go() {
    let told = Arc::new(Streams::default());
    let layer = streams(2, 100).observer(told.clone());
    let stack = Stack::new(Some(3), &layer).await;
    // The fourth needs a connection of its own.
    let calls = stack.calls(4);
    until(|| stack.peer.open().iter().sum::<usize>() == 4).await;
    assert_eq!(told.told(), [(0, 3), (3, 6)]);
    stack.peer.allow(0, 50);
    until(|| told.told().last() == Some(&(6, 53))).await;
    // One that drains carries no more.
    stack.peer.go_away(0, 3);
    until(|| told.told().last() == Some(&(53, 3))).await;
    stack.peer.answer_all();
    all_ok(calls).await;
    let Stack { pool, .. } = stack;
    drop(pool);
    until(|| told.told().last() == Some(&(3, 0))).await;
}

#[tokio::test]
async fn connections_that_carry_one_at_a_time_are_not_told_of() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let told = Arc::new(Streams::default());
    let layer = cap(4).observer(told.clone());
    let pool = layer.layer(Connector::tcp(upstream.addr()));
    assert_eq!(fetch(&pool, &upstream.uri("/")).await.unwrap(), "ok");
    drop(pool);
    upstream.settled(|stats| stats.live == 0).await;
    assert_eq!(told.told(), []);
}
