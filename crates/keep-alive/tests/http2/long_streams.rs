//! Connections with streams that stay, past their age and past their peer's goodbye.

use std::time::Duration;

use tollgate_testing::within;

use crate::support::{LONG, fetch};
use crate::{Stack, streams, until};

/// Eight lifetimes with a stream each that stayed once left an origin with nothing but connections
/// that drained, and every further call timed out.
#[tokio::test]
async fn streams_outliving_max_lifetime_keep_the_origin_serving() {
    let lives = Duration::from_millis(20);
    let stack = Stack::new(Some(100), &streams(4, 100).max_lifetime(lives)).await;
    let mut staying = Vec::new();
    for round in 0..8 {
        staying.push(stack.call());
        until(|| stack.peer.requests() == round + 1).await;
        tokio::time::sleep(lives * 2).await;
    }
    stack.peer.answer_at_once();
    for _ in 0..3 {
        let answer = within(LONG, fetch(&stack.pool, &stack.uri)).await;
        assert_eq!(answer.unwrap(), "ok");
    }
    let stats = stack.stats();
    assert!(stats.draining <= 4, "{stats:?}");
    assert!(
        stack.connector.stats().live <= 8,
        "{:?}",
        stack.connector.stats()
    );
    stack.peer.answer_all();
    for call in staying {
        assert_eq!(within(LONG, call).await.unwrap().unwrap(), "ok");
    }
}

/// Eight GOAWAYs with a stream left on each did the same.
#[tokio::test]
async fn goaway_with_a_stream_left_bars_no_dial() {
    let stack = Stack::new(Some(100), &streams(4, 100)).await;
    let mut staying = Vec::new();
    for round in 0..12 {
        staying.push(stack.call());
        until(|| stack.peer.requests() == round + 1).await;
        stack.peer.go_away(round, 1);
        until(|| stack.stats().open == 0).await;
    }
    stack.peer.answer_at_once();
    let answer = within(LONG, fetch(&stack.pool, &stack.uri)).await;
    assert_eq!(answer.unwrap(), "ok");
    assert!(
        stack.connector.stats().live <= 9,
        "{:?}",
        stack.connector.stats()
    );
    drop(staying);
}

/// The last lease of a connection comes back before it can give way to another origin: a stream that
/// stays on it held the place that an idle connection elsewhere could have given at once.
#[tokio::test]
async fn a_connection_with_streams_left_is_not_reclaimed() {
    let layer = streams(4, 100).max_connections_total(std::num::NonZeroUsize::new(2).unwrap());
    let stack = Stack::new(Some(100), &layer).await;
    let staying = stack.call();
    until(|| stack.peer.requests() == 1).await;
    stack.peer.answer_heads();
    let other = |name: &str| format!("https://{name}.test/").parse().unwrap();
    stack.peer.answer_at_once();
    let (idle, waits) = (other("idle"), other("waits"));
    within(LONG, fetch(&stack.pool, &idle)).await.unwrap();
    within(LONG, fetch(&stack.pool, &stack.uri)).await.unwrap();
    let answer = within(LONG, fetch(&stack.pool, &waits)).await;
    assert_eq!(answer.unwrap(), "ok");
    assert_eq!(stack.connector.stats().peak_live, 2);
    drop(staying);
}
