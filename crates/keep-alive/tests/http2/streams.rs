//! One connection for many, and how many.

use futures_util::FutureExt;
use tollgate_core::CloseReason;
use tollgate_keep_alive::AssumeTls;
use tower::ServiceExt;

use super::*;

async fn one_dial_for(requests: usize) {
    let stack = Stack::new(None, &streams(4, 1_000)).await;
    stack.peer.answer_at_once();
    all_ok(stack.calls(requests)).await;
    assert_eq!(stack.peer.accepted(), 1);
    assert_eq!(stack.peer.requests(), requests);
    assert_at_rest(&stack.stats());
}

#[tokio::test]
async fn fifty_cold_requests_need_one_dial() {
    one_dial_for(50).await;
}

#[tokio::test]
async fn a_thousand_cold_requests_need_one_dial() {
    one_dial_for(1_000).await;
}

#[tokio::test]
async fn an_http1_origin_dials_up_to_the_cap() {
    let gate = tollgate_testing::Gate::new();
    let held = gate.clone();
    let upstream =
        tollgate_testing::Upstream::start(move |_| tollgate_testing::Reply::ok("ok").when(&held))
            .await;
    let connector = Connector::tcp(upstream.addr());
    let pool = cap(8).layer(AssumeTls::new(connector.clone()));
    let uri: Uri = format!("https://{}/", upstream.addr()).parse().unwrap();
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let (pool, uri) = (pool.clone(), uri.clone());
            tokio::spawn(async move { fetch(&pool, &uri).await })
        })
        .collect();
    gate.reached(8).await;
    gate.open();
    all_ok(calls).await;
    assert_eq!(upstream.accepted(), 8, "none is dialled in vain");
    assert_eq!(connector.stats().live, 8);
}

/// 200 requests in as few rounds as the peer's limit makes possible, never more of them with it than
/// it allows; the others wait with us.
async fn rounds_of(allowed: u32) {
    let stack = Stack::new(Some(allowed), &streams(1, 100)).await;
    let calls = stack.calls(200);
    let allowed = allowed as usize;
    let mut answered = 0;
    let mut rounds = 0;
    while answered < 200 {
        let next = allowed.min(200 - answered);
        until(|| stack.peer.open().iter().sum::<usize>() == next).await;
        let stats = stack.stats();
        assert_eq!(
            (stats.in_flight, stats.queued),
            (next, 200 - answered - next)
        );
        answered += stack.peer.answer_all();
        rounds += 1;
    }
    all_ok(calls).await;
    assert_eq!(rounds, 200_usize.div_ceil(allowed));
    assert_eq!((stack.peer.peak(), stack.peer.accepted()), (allowed, 1));
    assert_at_rest(&stack.stats());
}

#[tokio::test]
async fn a_peer_that_allows_one_stream_gets_one() {
    rounds_of(1).await;
}

#[tokio::test]
async fn a_peer_that_allows_three_streams_gets_three() {
    rounds_of(3).await;
}

#[tokio::test]
async fn a_peer_that_allows_ten_streams_gets_ten() {
    rounds_of(10).await;
}

#[tokio::test]
async fn a_hundred_allowed_streams_are_all_used() {
    rounds_of(100).await;
}

#[tokio::test]
async fn further_connections_open_when_streams_run_out() {
    let stack = Stack::new(Some(10), &streams(4, 100)).await;
    let calls = stack.calls(200);
    for round in 0..5 {
        until(|| stack.peer.open() == [10; 4]).await;
        let stats = stack.stats();
        assert_eq!((stats.open, stats.in_flight, stats.limit), (4, 40, Some(4)));
        assert_eq!(stats.queued, 160 - round * 40);
        stack.peer.answer_all();
    }
    all_ok(calls).await;
    assert_eq!((stack.peer.peak(), stack.peer.accepted()), (10, 4));
}

#[tokio::test]
async fn connections_of_a_peak_idle_out() {
    let layer = streams(4, 100).idle_timeout(Duration::from_millis(300));
    let stack = Stack::new(Some(2), &layer).await;
    let calls = stack.calls(8);
    until(|| stack.peer.open() == [2; 4]).await;
    stack.peer.answer_all();
    all_ok(calls).await;
    stack.peer.answer_at_once();
    // One at a time is what one connection can do.
    while stack.connector.stats().live > 1 {
        all_ok(stack.calls(1)).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(stack.stats().closed_for(CloseReason::Idle), 3);
}

#[tokio::test]
async fn a_lowered_and_raised_stream_limit_is_kept() {
    let stack = Stack::new(Some(4), &streams(1, 100)).await;
    let calls = stack.calls(30);
    until(|| stack.peer.open() == [4]).await;
    stack.peer.allow(0, 2);
    // Those that run may end; then two at a time.
    stack.peer.answer_all();
    until(|| stack.peer.open() == [2]).await;
    assert_eq!(stack.stats().in_flight, 2);
    stack.peer.allow(0, 0);
    stack.peer.answer_all();
    until(|| stack.stats().in_flight == 0).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!((stack.peer.open(), stack.stats().queued), (vec![0], 24));
    stack.peer.allow(0, 20);
    until(|| stack.peer.open() == [20]).await;
    stack.peer.answer_at_once();
    stack.peer.answer_all();
    all_ok(calls).await;
    assert_eq!(stack.peer.accepted(), 1);
}

#[tokio::test]
async fn who_goes_first_takes_nobody_along() {
    let stack = Stack::new(None, &streams(4, 100)).await;
    let mut calls = stack.calls(6);
    let first = calls.remove(0);
    tokio::task::yield_now().await;
    first.abort();
    stack.peer.answer_at_once();
    all_ok(calls).await;
    assert_eq!(stack.peer.accepted(), 1);
    assert_at_rest(&stack.stats());
}

#[tokio::test]
async fn a_thousand_cancelled_calls_cost_no_connection() {
    let stack = Stack::new(Some(50), &streams(1, 100)).await;
    stack.peer.answer_at_once();
    all_ok(stack.calls(1)).await;
    for at in 0..1_000 {
        let mut call = Box::pin(
            stack
                .pool
                .clone()
                .oneshot(support::request("GET", &stack.uri)),
        );
        for _ in 0..at % 7 {
            if call.as_mut().now_or_never().is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    all_ok(stack.calls(1)).await;
    until(|| stack.stats().in_flight == 0).await;
    assert_eq!(
        (stack.peer.accepted(), stack.connector.stats().live),
        (1, 1)
    );
    assert_at_rest(&stack.stats());
}

#[tokio::test]
async fn draining_counts_each_stream_that_it_cuts() {
    let stack = Stack::new(None, &streams(4, 2)).await;
    let calls = stack.calls(3);
    until(|| stack.peer.open() == [2, 1]).await;
    assert_eq!(stack.pool.drain(Duration::ZERO).await, 3);
    for call in calls {
        assert!(within(support::LONG, call).await.unwrap().is_err());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sequential_calls_need_one_stream_and_connection() {
    let stack = Stack::new(Some(1), &streams(4, 100)).await;
    stack.peer.answer_at_once();
    for _ in 0..200 {
        fetch(&stack.pool, &stack.uri).await.unwrap();
    }
    assert_eq!(stack.peer.accepted(), 1);
}
