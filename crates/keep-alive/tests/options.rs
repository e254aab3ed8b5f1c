//! The options, one by one.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use futures_util::future::join_all;
use http::Uri;
use support::{Stack, assert_at_rest, cap, fetch, request, send};
use tollgate_core::{CloseReason, Origin};
use tollgate_keep_alive::{
    Deadline, KeepAlive, KeepAliveErrorKind, KeepAliveLayer, OriginOptions, OriginStats,
};
use tollgate_testing::io::Plan;
use tollgate_testing::{Connector, Gate, Reply, Upstream, within};
use tower::Layer;

fn n(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

async fn ok() -> Upstream {
    Upstream::start(|_| Reply::ok("ok")).await
}

fn stats(pool: &KeepAlive, uri: &Uri) -> OriginStats {
    pool.stats(&Origin::from_uri(uri).unwrap()).unwrap()
}

/// `n` requests at once, each on a connection of its own.
async fn burst(pool: &KeepAlive, uri: &Uri, gate: &Gate, n: usize) {
    gate.close();
    let calls = join_all((0..n).map(|_| fetch(pool, uri)));
    let opening = async {
        gate.reached(n).await;
        gate.open();
    };
    for answer in tokio::join!(calls, opening).0 {
        assert_eq!(answer.unwrap(), "ok");
    }
}

async fn gated() -> (Gate, Upstream) {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Reply::ok("ok").when(&held));
    (gate, upstream.await)
}

#[tokio::test]
async fn max_idle_per_origin_bounds_idle_connections() {
    let (gate, upstream) = gated().await;
    let stack = Stack::new(&upstream, &cap(4).max_idle_per_origin(1));
    burst(&stack.pool, &upstream.uri("/"), &gate, 4).await;
    let stats = stack.settled(|stats| stats.closed == 3).await;
    assert_eq!((stats.idle, stats.closed_for(CloseReason::MaxIdle)), (1, 3));
    assert_at_rest(&stats);
}

#[tokio::test]
async fn max_requests_per_connection_replaces_the_connection() {
    let upstream = ok().await;
    let ten = NonZeroU64::new(10).unwrap();
    let stack = Stack::new(&upstream, &cap(1).max_requests_per_connection(ten));
    for _ in 0..25 {
        fetch(&stack.pool, &upstream.uri("/")).await.unwrap();
    }
    assert_eq!(upstream.accepted(), 3);
    assert_eq!(stack.stats().closed_for(CloseReason::MaxRequests), 2);
}

#[tokio::test]
async fn max_connecting_per_origin_bounds_dials() {
    let upstream = ok().await;
    let gate = Gate::new();
    let dialling = gate.clone();
    let connector =
        Connector::tcp(upstream.addr()).script(move |_| Plan::connect().when(&dialling));
    let pool = cap(20)
        .max_connecting_per_origin(n(3))
        .layer(connector.clone());
    let uri = upstream.uri("/");
    let calls = (0..20).map(|_| {
        let (pool, uri) = (pool.clone(), uri.clone());
        tokio::spawn(async move { fetch(&pool, &uri).await.unwrap() })
    });
    let calls: Vec<_> = calls.collect();
    gate.reached(3).await;
    assert_eq!((stats(&pool, &uri).connecting, gate.arrivals()), (3, 3));
    gate.open();
    join_all(calls).await;
    assert_eq!(connector.stats().peak_dialling, 3);
}

#[tokio::test(start_paused = true)]
async fn min_idle_per_origin_keeps_spare_connections() {
    let upstream = ok().await;
    let layer = cap(4).min_idle_per_origin(2);
    let connector = Connector::memory(&upstream);
    let (pool, uri) = (layer.layer(connector.clone()), upstream.uri("/"));
    fetch(&pool, &uri).await.unwrap();
    // Also when nobody asks, and past the idle timeout: they are replaced.
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        let idle = stats(&pool, &uri).idle;
        assert!((2..=3).contains(&idle), "{idle} idle");
    }
    // But not for ever.
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(connector.stats().live, 0);
}

#[tokio::test(start_paused = true)]
async fn lifetime_jitter_spreads_the_ends_of_connections() {
    let (gate, upstream) = gated().await;
    let connector = Connector::memory(&upstream);
    let layer = cap(50)
        .max_connecting_per_origin(n(50))
        .idle_timeout(Duration::from_secs(3600))
        .max_lifetime(Duration::from_secs(300));
    let (pool, uri) = (layer.layer(connector.clone()), upstream.uri("/"));
    burst(&pool, &uri, &gate, 50).await;
    let live_at = async |secs: u64, last: u64| {
        tokio::time::sleep(Duration::from_secs(secs - last)).await;
        connector.stats().live
    };
    assert_eq!(live_at(269, 0).await, 50, "a tenth less at the least");
    let half = live_at(300, 269).await;
    assert!((5..=45).contains(&half), "{half} of 50 at the middle");
    assert_eq!(live_at(331, 300).await, 0, "a tenth more at the most");
    assert_eq!(stats(&pool, &uri).closed_for(CloseReason::MaxAge), 50);
}

#[tokio::test]
async fn an_origin_may_have_its_own_cap() {
    let (gate, upstream) = gated().await;
    let one: Origin = "http://one.test".parse().unwrap();
    let connector = Connector::tcp(upstream.addr());
    let options = OriginOptions::new().max_connections_per_origin(1);
    let pool = cap(4).origin(one, options).unwrap().layer(connector);
    let (one, other) = ("http://one.test/", "http://other.test/");
    let calls = [one, other].map(|uri| {
        let (pool, uri) = (pool.clone(), Uri::from_static(uri));
        tokio::spawn(async move { join_all((0..4).map(|_| fetch(&pool, &uri))).await })
    });
    gate.reached(5).await;
    let limits = [one, other].map(|uri| stats(&pool, &Uri::from_static(uri)).open);
    assert_eq!(limits, [1, 4]);
    gate.open();
    join_all(calls).await;
}

#[test]
fn zero_options_are_refused_by_name() {
    let cases = [
        (
            "max_connections_per_origin",
            OriginOptions::new().max_connections_per_origin(0),
        ),
        (
            "max_connecting_per_origin",
            OriginOptions::new().max_connecting_per_origin(0),
        ),
        (
            "max_requests_per_connection",
            OriginOptions::new().max_requests_per_connection(0),
        ),
        (
            "acquire_timeout",
            OriginOptions::new().acquire_timeout(Duration::ZERO),
        ),
        (
            "idle_timeout",
            OriginOptions::new().idle_timeout(Duration::ZERO),
        ),
        (
            "max_lifetime",
            OriginOptions::new().max_lifetime(Duration::ZERO),
        ),
        (
            "connect_timeout",
            OriginOptions::new().connect_timeout(Duration::ZERO),
        ),
        ("timeout", OriginOptions::new().timeout(Duration::ZERO)),
        (
            "response_timeout",
            OriginOptions::new().response_timeout(Duration::ZERO),
        ),
        (
            "body_idle_timeout",
            OriginOptions::new().body_idle_timeout(Duration::ZERO),
        ),
    ];
    for (name, options) in cases {
        let one: Origin = "http://one.test".parse().unwrap();
        let errors = [cap(4).origin(one, options), cap(4).each_origin(options)];
        for error in errors.map(Result::unwrap_err) {
            assert_eq!((error.name(), error.is_zero()), (name, true));
            assert!(error.to_string().starts_with(&format!("{name} is 0: ")));
        }
    }
    // Where zero means none, it is taken.
    let none = OriginOptions::new()
        .max_idle_per_origin(0)
        .min_idle_per_origin(0)
        .max_waiting(0)
        .keep_alive_hint_max(Duration::ZERO);
    assert!(cap(4).each_origin(none).is_ok());
}

#[test]
fn more_spare_connections_than_any_cap_are_refused() {
    let spare = OriginOptions::new().min_idle_per_origin(5);
    for layer in [
        cap(4).each_origin(spare.max_connections_per_origin(4)),
        cap(9).each_origin(spare.max_idle_per_origin(4)),
        cap(9).max_connections_total(n(4)).each_origin(spare),
        cap(4).origin("http://one.test".parse().unwrap(), spare),
    ] {
        let error = layer.unwrap_err();
        assert_eq!(
            (error.name(), error.is_zero()),
            ("min_idle_per_origin", false)
        );
    }
}

#[test]
fn timeouts_that_contradict_each_other_are_refused() {
    let ms = Duration::from_millis;
    let (one, new) = ("http://one.test", OriginOptions::new());
    for (name, other, options) in [
        (
            "response_timeout",
            "acquire_timeout",
            new.response_timeout(ms(800)).acquire_timeout(ms(800)),
        ),
        (
            "timeout",
            "response_timeout",
            new.timeout(ms(800)).response_timeout(ms(900)),
        ),
        (
            "timeout",
            "acquire_timeout",
            new.timeout(ms(800)).acquire_timeout(ms(800)),
        ),
        (
            "timeout",
            "body_idle_timeout",
            new.timeout(ms(800)).body_idle_timeout(ms(900)),
        ),
    ] {
        let layers = [
            KeepAliveLayer::new().each_origin(options),
            KeepAliveLayer::new().origin(one.parse().unwrap(), options),
        ];
        for error in layers.map(Result::unwrap_err) {
            let named = (error.name(), error.is_conflict(), error.is_zero());
            assert_eq!(named, (name, true, false));
            assert!(error.to_string().contains(other), "{error}");
        }
    }
    // A limit below a default is no contradiction, and one of an origin is held to those of all.
    let short = KeepAliveLayer::new()
        .each_origin(new.timeout(ms(100)))
        .unwrap();
    let long = new.response_timeout(ms(200));
    let error = short.origin(one.parse().unwrap(), long).unwrap_err();
    assert_eq!(error.name(), "timeout");
}

#[tokio::test]
async fn a_cap_can_be_raised_and_lowered() {
    let (gate, upstream) = gated().await;
    let stack = Stack::new(&upstream, &cap(1));
    let uri = upstream.uri("/");
    let pool = stack.pool.clone();
    let calls = tokio::spawn(async move { join_all((0..4).map(|_| fetch(&pool, &uri))).await });
    gate.reached(1).await;
    stack.pool.set_max_connections(&stack.origin, n(4)).unwrap();
    gate.reached(4).await;
    stack.pool.set_max_connections(&stack.origin, n(2)).unwrap();
    assert_eq!(stack.stats().open, 4, "running exchanges end by themselves");
    gate.open();
    for answer in calls.await.unwrap() {
        assert_eq!(answer.unwrap(), "ok");
    }
    let stats = stack.settled(|stats| stats.open == 2).await;
    assert_eq!((stats.limit, stats.idle), (Some(2), 2));
    assert_at_rest(&stats);
}

#[tokio::test]
async fn past_deadline_requests_get_no_dial_or_lease() {
    let upstream = ok().await;
    let stack = Stack::new(&upstream, &cap(1));
    let uri = upstream.uri("/");
    let mut late = request("GET", &uri);
    let past = tokio::time::Instant::now();
    late.extensions_mut().insert(Deadline::at(past));
    let error = send(&stack.pool, late.clone()).await.unwrap_err();
    assert_eq!(error.kind(), KeepAliveErrorKind::QueueTimeout);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(stack.connector.stats().calls, 0);

    // Nor if a connection idles.
    fetch(&stack.pool, &uri).await.unwrap();
    assert!(send(&stack.pool, late).await.is_err());
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_deadline_ends_the_wait_for_a_dial() {
    let upstream = ok().await;
    let connector = Connector::tcp(upstream.addr()).script(|_| Plan::hang());
    let (pool, uri) = (cap(1).layer(connector), upstream.uri("/"));
    let limit = Duration::from_millis(50);
    let mut call = request("GET", &uri);
    // It runs from here: the wait for the connection begins a little later.
    let since = tokio::time::Instant::now();
    call.extensions_mut().insert(Deadline::after(limit));
    let error = within(limit * 20, send(&pool, call)).await.unwrap_err();
    assert_eq!(error.kind(), KeepAliveErrorKind::QueueTimeout);
    assert!(since.elapsed() >= limit && error.timings().queued > limit / 2);
}

#[tokio::test]
async fn the_pool_serves_on_after_close_idle() {
    let (gate, upstream) = gated().await;
    let stack = Stack::new(&upstream, &cap(3));
    burst(&stack.pool, &upstream.uri("/"), &gate, 3).await;
    stack.settled(|stats| stats.idle == 3).await;
    stack.pool.close_idle();
    stack.connector.settled(|stats| stats.live == 0).await;
    assert_eq!(fetch(&stack.pool, &upstream.uri("/")).await.unwrap(), "ok");
    assert_eq!(upstream.accepted(), 4);
}
