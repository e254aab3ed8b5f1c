//! The cap and the queue, over real sockets.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::num::NonZeroUsize;
use std::time::Duration;

use futures_util::future::join_all;
use support::{Stack, assert_at_rest, cap, fetch, get, read};
use tollgate_keep_alive::KeepAliveErrorKind;
use tollgate_testing::{Gate, Reply, Upstream};

/// A burst under a cap: as many sockets as the cap and no more, and everyone answered.
async fn burst(requests: usize, limit: usize) {
    let upstream = Upstream::builder()
        .backlog(4096)
        .reply(|_| Reply::ok("ok"))
        .start()
        .await;
    let stack = Stack::new(&upstream, &cap(limit));
    let calls = (0..requests).map(|n| {
        let (pool, uri) = (stack.pool.clone(), upstream.uri(&format!("/{n}")));
        async move { fetch(&pool, &uri).await }
    });
    for answer in join_all(calls).await {
        assert_eq!(answer.unwrap(), "ok");
    }

    assert_eq!(upstream.accepted(), limit);
    assert!(upstream.peak_live() <= limit);
    assert!(stack.connector.stats().peak_live <= limit);
    assert_eq!(upstream.requests().len(), requests);
    assert_at_rest(&stack.settled(|stats| stats.in_flight == 0).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_requests_share_two_capped_sockets() {
    burst(200, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_requests_stay_within_the_cap() {
    burst(2000, 64).await;
}

#[tokio::test]
async fn a_queued_request_takes_the_freed_connection() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |request| match &*request.target {
        "/first" => Reply::ok("first"),
        _ => Reply::ok("other").when(&held),
    })
    .await;
    let stack = Stack::new(&upstream, &cap(1));
    let first = get(&stack.pool, &upstream.uri("/first")).await.unwrap();
    let (pool, uri) = (stack.pool.clone(), upstream.uri("/second"));
    let second = tokio::spawn(async move { fetch(&pool, &uri).await.unwrap() });
    stack.settled(|stats| stats.queued == 1).await;

    // The first body still holds the only connection.
    assert_eq!(upstream.stats().requests, 1);
    assert_eq!(read(first).await.unwrap(), "first");
    gate.open();
    assert_eq!(second.await.unwrap(), "other");
    assert_eq!(upstream.accepted(), 1);
}

#[tokio::test]
async fn a_full_queue_refuses_with_limit_and_ahead() {
    let upstream = Upstream::start(|_| Reply::never()).await;
    let layer = cap(1).max_waiting(1);
    let stack = Stack::new(&upstream, &layer);
    let uri = upstream.uri("/");
    let holder = tokio::spawn({
        let (pool, uri) = (stack.pool.clone(), uri.clone());
        async move { get(&pool, &uri).await }
    });
    stack.settled(|stats| stats.active == 1).await;
    let waiter = tokio::spawn({
        let (pool, uri) = (stack.pool.clone(), uri.clone());
        async move { get(&pool, &uri).await }
    });
    stack.settled(|stats| stats.queued == 1).await;

    let error = get(&stack.pool, &uri).await.unwrap_err();
    assert_eq!(error.kind(), KeepAliveErrorKind::QueueFull);
    assert!(error.nothing_sent());
    assert_eq!((error.limit(), error.ahead()), (1, 1));
    assert!(error.to_string().contains("max_waiting"), "{error}");
    holder.abort();
    waiter.abort();
}

#[tokio::test]
async fn a_wait_ends_at_its_acquire_timeout() {
    let upstream = Upstream::start(|_| Reply::never()).await;
    let limit = Duration::from_millis(50);
    let stack = Stack::new(&upstream, &cap(1).acquire_timeout(limit));
    let uri = upstream.uri("/");
    let holder = tokio::spawn({
        let (pool, uri) = (stack.pool.clone(), uri.clone());
        async move { get(&pool, &uri).await }
    });
    stack.settled(|stats| stats.active == 1).await;

    let error = get(&stack.pool, &uri).await.unwrap_err();
    assert_eq!(error.kind(), KeepAliveErrorKind::QueueTimeout);
    assert!(error.timings().queued >= limit);
    let io = tollgate_core::error::find::<std::io::Error>(&error).unwrap();
    assert_eq!(io.kind(), std::io::ErrorKind::TimedOut);
    assert_eq!(stack.stats().timed_out, 1);
    holder.abort();
}

#[tokio::test]
async fn max_waiting_zero_dials_but_never_queues() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Reply::ok("ok").when(&held)).await;
    let stack = Stack::new(&upstream, &cap(1).max_waiting(0));
    let uri = upstream.uri("/");
    let (pool, first) = (stack.pool.clone(), uri.clone());
    let first = tokio::spawn(async move { fetch(&pool, &first).await });
    gate.reached(1).await;
    let error = get(&stack.pool, &uri).await.unwrap_err();
    assert_eq!(error.kind(), KeepAliveErrorKind::QueueFull);
    gate.open();
    assert_eq!(first.await.unwrap().unwrap(), "ok");
}

/// The first round of dials once was the last: nobody started the next when one had ended.
#[tokio::test]
async fn a_cold_burst_dials_up_to_the_cap() {
    for at_a_time in [1, 3, 16] {
        let gate = Gate::new();
        let held = gate.clone();
        let upstream = Upstream::start(move |_| Reply::ok("ok").when(&held)).await;
        let layer = cap(64).max_connecting_per_origin(NonZeroUsize::new(at_a_time).unwrap());
        let stack = Stack::new(&upstream, &layer);
        let uri = upstream.uri("/");
        let calls = join_all((0..100).map(|_| fetch(&stack.pool, &uri)));
        let (answers, ()) = tokio::join!(calls, async {
            gate.reached(64).await;
            gate.open();
        });
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(upstream.accepted(), 64);
        assert_eq!(stack.connector.stats().peak_dialling, at_a_time);
    }
}
