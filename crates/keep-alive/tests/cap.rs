//! The cap and the queue, over real sockets.

mod support;

use std::num::NonZeroUsize;
use std::time::Duration;

use futures_util::future::join_all;
use support::{Stack, assert_at_rest, cap, fetch, get, read};
use tollgate_keep_alive::{KeepAliveErrorKind, KeepAliveLayer};
use tollgate_testing::{Connector, Gate, Reply, Upstream};
use tower::Layer;

/// A burst under a cap: as many sockets as the cap and no more, everyone answered, in order.
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
    // Joined on one task, so that they reach the queue in this order.
    for answer in join_all(calls).await {
        assert_eq!(answer.unwrap(), "ok");
    }

    assert_eq!(upstream.accepted(), limit);
    assert!(upstream.peak_live() <= limit);
    assert!(stack.connector.stats().peak_live <= limit);
    let order = upstream.requests();
    assert_eq!(order.len(), requests);
    let overtakers = order.iter().enumerate().map(|(arrival, request)| {
        let n: usize = request.target[1..].parse().unwrap();
        n.abs_diff(arrival)
    });
    // A server that reads `limit` sockets at once can shuffle what is in flight, no more.
    assert!(
        overtakers.max().unwrap() < 2 * limit,
        "grants are in order of arrival"
    );
    assert_at_rest(&stack.settled(|stats| stats.in_flight == 0).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_requests_under_a_cap_of_two_use_two_sockets() {
    burst(200, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_requests_under_a_cap_of_sixty_four_use_sixty_four_sockets() {
    burst(2000, 64).await;
}

#[tokio::test]
async fn nothing_is_dialled_after_the_demand_is_gone() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let stack = Stack::new(&upstream, &cap(4));
    let uri = upstream.uri("/");
    join_all((0..100).map(|_| fetch(&stack.pool, &uri))).await;
    let accepted = upstream.accepted();
    let tasks = tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks();

    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(upstream.accepted(), accepted);
    assert!(
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
            <= tasks
    );
    assert_eq!(stack.connector.stats().dialling, 0);
}

#[tokio::test]
async fn a_request_in_the_middle_of_a_burst_gets_the_connection_that_falls_free_first() {
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
async fn a_full_queue_refuses_at_once_and_says_how_long_it_is() {
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
async fn a_wait_ends_at_the_acquire_timeout_with_what_was_ahead() {
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
    assert_eq!(error.kind(), KeepAliveErrorKind::QueueTimedOut);
    assert!(error.timings().queued >= limit);
    let io = tollgate_core::error::find::<std::io::Error>(&error).unwrap();
    assert_eq!(io.kind(), std::io::ErrorKind::TimedOut);
    assert_eq!(stack.stats().timed_out, 1);
    holder.abort();
}

#[tokio::test]
async fn max_waiting_zero_means_never_to_queue_but_still_to_dial() {
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

#[tokio::test]
async fn a_full_total_closes_an_idle_connection_of_another_origin_at_once() {
    let a = Upstream::start(|_| Reply::ok("a")).await;
    let b = Upstream::start(|_| Reply::ok("b")).await;
    let connector = tower::service_fn({
        let (a_addr, a, b) = (a.addr(), Connector::tcp(a.addr()), Connector::tcp(b.addr()));
        move |uri: http::Uri| {
            let to = if uri.port_u16() == Some(a_addr.port()) {
                a.clone()
            } else {
                b.clone()
            };
            tower::ServiceExt::oneshot(to, uri)
        }
    });
    let layer = KeepAliveLayer::new().max_connections_total(NonZeroUsize::MIN);
    let pool = layer.layer(connector);
    assert_eq!(fetch(&pool, &a.uri("/")).await.unwrap(), "a");
    let started = tokio::time::Instant::now();
    assert_eq!(fetch(&pool, &b.uri("/")).await.unwrap(), "b");
    assert!(started.elapsed() < Duration::from_secs(1));
    a.settled(|stats| stats.live == 0).await;
    let origin = a.uri("/").to_string().parse().unwrap();
    if let Some(stats) = pool.stats(&origin) {
        assert_eq!(stats.closed_for(tollgate_core::CloseReason::Reclaimed), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_origins_under_a_total_of_eight_all_finish_with_two_of_them_saturated() {
    let mut upstreams = Vec::new();
    for _ in 0..20 {
        let delay = Duration::from_millis(2);
        upstreams.push(Upstream::start(move |_| Reply::ok("ok").after(delay)).await);
    }
    let connector = Connector::tcp(upstreams[0].addr());
    drop(connector);
    let live = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let addrs: Vec<_> = upstreams
        .iter()
        .map(|u| (u.addr(), Connector::tcp(u.addr())))
        .collect();
    let probes: Vec<_> = addrs.iter().map(|(_, c)| c.clone()).collect();
    let connector = tower::service_fn(move |uri: http::Uri| {
        let port = uri.port_u16().unwrap();
        let (_, to) = addrs
            .iter()
            .find(|(addr, _)| addr.port() == port)
            .unwrap()
            .clone();
        tower::ServiceExt::oneshot(to, uri)
    });
    let layer = cap(8).max_connections_total(NonZeroUsize::new(8).unwrap());
    let pool = layer.layer(connector);

    let mut tasks = Vec::new();
    for (n, upstream) in upstreams.iter().enumerate() {
        let callers = if n < 2 { 60 } else { 3 };
        for _ in 0..callers {
            let (pool, uri) = (pool.clone(), upstream.uri("/"));
            tasks.push(tokio::spawn(async move {
                for _ in 0..10 {
                    fetch(&pool, &uri).await.unwrap();
                }
            }));
        }
    }
    let watch = tokio::spawn({
        let (live, probes) = (live.clone(), probes.clone());
        async move {
            loop {
                let now: usize = probes.iter().map(|probe| probe.stats().live).sum();
                live.fetch_max(now, std::sync::atomic::Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        }
    });
    for task in tasks {
        tollgate_testing::within(support::LONG, task).await.unwrap();
    }
    watch.abort();
    let live = live.load(std::sync::atomic::Ordering::Relaxed);
    assert!(live <= 8, "{live} sockets at once under a total of 8");
}
