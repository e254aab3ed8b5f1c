//! Upstreams that cannot be reached.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use support::{Stack, assert_at_rest, cap, fetch, get};
use tokio::time::Instant;
use tollgate_keep_alive::{KeepAlive, KeepAliveErrorKind, KeepAliveLayer};
use tollgate_testing::io::Plan;
use tollgate_testing::{Connector, Hole, Refused, Reply, Upstream};
use tower::Layer;

/// A pool over real sockets, whose connector goes where the URI says.
fn pool(connect_timeout: Duration) -> KeepAlive {
    cap(8)
        .connect_timeout(connect_timeout)
        .layer(HttpConnector::new())
}

/// How long requests to an origin that is well take: the median and the longest.
async fn latency(pool: &KeepAlive, uri: &Uri) -> (Duration, Duration) {
    let mut all = Vec::new();
    for _ in 0..50 {
        let started = Instant::now();
        assert_eq!(fetch(pool, uri).await.unwrap(), "ok");
        all.push(started.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    all.sort_unstable();
    (all[25], all[49])
}

/// 500 waiters of an upstream that is dead, and the neighbours they have in the pool.
async fn five_hundred_waiters(dead: SocketAddr, connect_timeout: Duration, cause: ErrorKind) {
    let alive = Upstream::start(|_| Reply::ok("ok")).await;
    let pool = pool(connect_timeout);
    let (uri, well): (Uri, Uri) = (format!("http://{dead}/").parse().unwrap(), alive.uri("/"));
    fetch(&pool, &well).await.unwrap();
    let (before, _) = latency(&pool, &well).await;

    let neighbour = tokio::spawn({
        let (pool, well) = (pool.clone(), well.clone());
        async move { latency(&pool, &well).await }
    });
    let started = Instant::now();
    let answers = join_all((0..500).map(|_| get(&pool, &uri))).await;
    let took = started.elapsed();
    // The back-off is 50 ms at first.
    let allowed = connect_timeout + Duration::from_millis(50) + Duration::from_millis(250);
    assert!(took < allowed, "500 waiters took {took:?}");
    for answer in answers {
        let error = answer.unwrap_err();
        assert!(error.nothing_sent());
        let io = tollgate_core::error::find::<std::io::Error>(&error).unwrap();
        assert_eq!(io.kind(), cause, "{error:?}");
    }
    let (during, longest) = neighbour.await.unwrap();
    assert!(
        during < before + Duration::from_millis(5) && longest < Duration::from_millis(200),
        "another origin: {before:?} before, {during:?} and up to {longest:?} meanwhile"
    );

    // Dials that were under way when all were told belong to the pool, and end by themselves.
    let origin = uri.to_string().parse().unwrap();
    tollgate_testing::eventually(|| pool.stats(&origin).unwrap().connecting == 0).await;
    let stats = pool.stats(&origin).unwrap();
    let dials = stats.connect_failures;
    assert!(dials < 20, "{dials} dials for 500 waiters");
    assert_at_rest(&stats);
    // And while it backs off, the next waits for one dial, and fails with it.
    let error = get(&pool, &uri).await.unwrap_err();
    assert_eq!(error.kind(), KeepAliveErrorKind::Connect);
    let io = tollgate_core::error::find::<std::io::Error>(&error).unwrap();
    assert_eq!(io.kind(), cause, "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_waiters_of_refusing_peers_fail_together() {
    let refused = Refused::start(Ipv4Addr::LOCALHOST);
    let timeout = Duration::from_millis(400);
    five_hundred_waiters(refused.addr(), timeout, ErrorKind::ConnectionRefused).await;
}

/// Within one connect timeout, not one for each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_waiters_of_black_holes_fail_together() {
    let hole = Hole::start(Ipv4Addr::LOCALHOST).await;
    let timeout = Duration::from_millis(400);
    five_hundred_waiters(hole.addr(), timeout, ErrorKind::TimedOut).await;
}

#[tokio::test]
async fn recovery_is_noticed_within_the_longest_back_off() {
    let mut upstream = Upstream::start(|_| Reply::ok("ok")).await;
    upstream.stop_listening().await;
    let stack = Stack::new(&upstream, &cap(4));
    let uri = upstream.uri("/");
    // Long enough for the back-off to have grown to its longest.
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        assert!(get(&stack.pool, &uri).await.is_err());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let dials = stack.stats().connect_failures;
    assert!(dials < 40, "{dials} dials in 3 s of back-off");
    upstream.listen();
    let back = Instant::now();
    while get(&stack.pool, &uri).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // A second, and what the machine takes.
    let took = back.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn a_failed_dial_fails_only_the_first_waiter() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let connector = Connector::tcp(upstream.addr()).script(|dial| match dial.nth {
        0 => Plan::fail(ErrorKind::ConnectionReset),
        _ => Plan::connect(),
    });
    let pool = cap(1).layer(connector);
    let uri = upstream.uri("/");
    let answers = join_all((0..5).map(|_| fetch(&pool, &uri))).await;
    let failed: Vec<_> = answers.iter().map(Result::is_err).collect();
    assert_eq!(
        failed,
        [true, false, false, false, false],
        "the head fails, nobody else"
    );
}

/// A pool that has failed to dial three times, and whose next dials succeed.
async fn backing_off(layer: KeepAliveLayer) -> (Upstream, KeepAlive, Connector) {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let connector = Connector::memory(&upstream).script(|dial| match dial.nth {
        0..3 => Plan::fail(ErrorKind::ConnectionRefused),
        _ => Plan::connect(),
    });
    let pool = layer.layer(connector.clone());
    let uri = upstream.uri("/");
    for _ in 0..3 {
        assert!(get(&pool, &uri).await.is_err());
    }
    (upstream, pool, connector)
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_milliseconds_fails_no_waiting_call() {
    let (upstream, pool, connector) = backing_off(cap(8)).await;
    let uri = upstream.uri("/");
    let started = Instant::now();
    let answers = join_all((0..50).map(|_| fetch(&pool, &uri))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let waited = started.elapsed();
    assert!(
        waited < Duration::from_millis(70),
        "one back-off: {waited:?}"
    );
    assert!(connector.uris().len() <= 3 + 8, "one probe, then the cap");
}

#[tokio::test(start_paused = true)]
async fn back_off_fails_too_short_calls_at_once() {
    let short = cap(8).acquire_timeout(Duration::from_millis(40));
    let (upstream, pool, _) = backing_off(short).await;
    let started = Instant::now();
    let error = get(&pool, &upstream.uri("/")).await.unwrap_err();
    assert_eq!(error.kind(), KeepAliveErrorKind::BackingOff);
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert!(error.nothing_sent());
}
