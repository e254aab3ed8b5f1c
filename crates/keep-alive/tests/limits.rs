//! The time that a request has, as the queue keeps to it (A13).

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::time::Duration;

use support::{Stack, cap, fetch, request, send};
use tokio::time::Instant;
use tollgate_keep_alive::{KeepAliveError, KeepAliveErrorKind, KeepAliveLayer, Limits};
use tollgate_testing::io::Plan;
use tollgate_testing::{Connector, Reply, Upstream};
use tower::Layer;

const USE: Duration = Duration::from_millis(300);

/// One connection, on which an exchange of 300 ms is under way and others were measured. Returns the
/// error of a request with these limits, and the time after which it came.
async fn beside_one(
    layer: &KeepAliveLayer,
    limits: Option<fn() -> Limits>,
) -> (KeepAliveError, Duration) {
    let upstream = Upstream::start(|_| Reply::ok("ok").after(USE)).await;
    let stack = Stack::in_memory(&upstream, layer);
    let uri = upstream.uri("/");
    let own = |limit| {
        let mut request = request("GET", &uri);
        request.extensions_mut().insert(limit);
        request
    };
    // A use is typical once it was measured a few times.
    let enough = Limits::new().timeout(USE * 10);
    for _ in 0..8 {
        let response = send(&stack.pool, own(enough)).await.unwrap();
        support::read(response).await.unwrap();
    }
    let first = tokio::spawn({
        let (pool, request) = (stack.pool.clone(), own(enough));
        async move { support::read(send(&pool, request).await.unwrap()).await }
    });
    tokio::task::yield_now().await;
    let (start, mut second) = (Instant::now(), request("GET", &uri));
    if let Some(limits) = limits {
        second.extensions_mut().insert(limits());
    }
    let error = send(&stack.pool, second).await.unwrap_err();
    let took = start.elapsed();
    assert_eq!(first.await.unwrap().unwrap(), "ok", "nothing was cut");
    assert_eq!(upstream.requests().len(), 9, "it was not sent");
    (error, took)
}

#[tokio::test(start_paused = true)]
async fn a_timeout_below_typical_use_is_refused_immediately() {
    let cases: [fn() -> Limits; 3] = [
        || Limits::new().timeout(USE / 2),
        || Limits::new().response_timeout(USE / 2),
        || Limits::new().ends_at(Instant::now() + USE / 2),
    ];
    for limits in cases {
        let (error, took) = beside_one(&cap(1), Some(limits)).await;
        assert_eq!(error.kind(), KeepAliveErrorKind::QueueTimeout);
        assert!(error.would_be_late() && error.nothing_sent(), "{error}");
        assert!(error.to_string().starts_with("would be late: "), "{error}");
        assert_eq!(took, Duration::ZERO, "{:?}", limits());
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_beyond_the_timeout_ends_waits_early() {
    let limit = USE * 3 / 2;
    let (error, took) = beside_one(&cap(1), Some(|| Limits::new().timeout(USE * 3 / 2))).await;
    assert!(error.would_be_late(), "{error}");
    assert!(took < limit && took + USE * 5 / 4 >= limit, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_the_origin_bounds_its_queue() {
    let layer = cap(1).timeout(USE * 3 / 2);
    let (error, _) = beside_one(&layer, None).await;
    assert!(error.would_be_late(), "{error}");
    // And gives way to that of a request.
    let (_, took) = beside_one(&layer, Some(|| Limits::new().timeout(USE / 2))).await;
    assert_eq!(took, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_requests_acquire_timeout_ends_its_wait() {
    const LIMIT: Duration = Duration::from_millis(50);
    let (error, took) = beside_one(&cap(1), Some(|| Limits::new().acquire_timeout(LIMIT))).await;
    assert_eq!(error.kind(), KeepAliveErrorKind::QueueTimeout);
    assert!(error.is_overdue() && !error.would_be_late(), "{error}");
    assert_eq!(took, LIMIT);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_ends_the_wait_for_a_dial() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let connector = Connector::memory(&upstream).script(|_| Plan::connect().after(USE));
    let pool = cap(1).timeout(USE / 2).layer(connector);
    let (start, uri) = (Instant::now(), upstream.uri("/"));
    let error = send(&pool, request("GET", &uri)).await.unwrap_err();
    assert_eq!(error.kind(), KeepAliveErrorKind::QueueTimeout);
    assert!(error.is_overdue() && error.was_connecting(), "{error}");
    assert_eq!(start.elapsed(), USE / 2);
    // The dial goes on, and serves the next.
    tokio::time::sleep(USE).await;
    assert_eq!(fetch(&pool, &uri).await.unwrap(), "ok");
}
