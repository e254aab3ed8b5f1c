//! How long connections live, by our options and by the peer's word.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::time::Duration;

use support::{Stack, cap, fetch};
use tollgate_core::CloseReason;
use tollgate_testing::{Reply, Upstream};

#[tokio::test]
async fn peer_limits_on_reuse_are_kept_and_counted() {
    let upstream = Upstream::start(|request| match &*request.target {
        "/close" => Reply::ok("x").closing(),
        "/http10" => Reply::http10("x"),
        "/max" => Reply::ok("x").header("keep-alive", "timeout=30, max=5"),
        "/now" => Reply::ok("x").header("keep-alive", "timeout=1"),
        "/both" => Reply::chunked()
            .header("content-length", "3")
            .chunk("x")
            .end_chunks(),
        _ => Reply::ok("x"),
    })
    .await;
    // Requests on one path, how many connections they take, and why those before the last closed.
    for (path, requests, connections, reason) in [
        ("/close", 3, 3, CloseReason::PeerClose),
        ("/http10", 3, 3, CloseReason::PeerClose),
        ("/max", 12, 2, CloseReason::PeerClose),
        ("/now", 2, 2, CloseReason::Idle),
        ("/both", 2, 2, CloseReason::PeerClose),
    ] {
        let stack = Stack::new(&upstream, &cap(1));
        let before = upstream.accepted();
        for _ in 0..requests {
            assert_eq!(
                fetch(&stack.pool, &upstream.uri(path)).await.unwrap(),
                "x",
                "{path}"
            );
        }
        assert_eq!(upstream.accepted() - before, connections, "{path}");
        let stats = stack
            .settled(|stats| stats.closed >= connections as u64 - 1)
            .await;
        assert_eq!(stats.closed_for(reason), stats.closed, "{path}: {stats:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_servers_hint_shortens_the_idle_timeout() {
    let upstream = Upstream::start(|_| Reply::ok("x").header("keep-alive", "timeout=2")).await;
    let connector = tollgate_testing::Connector::memory(&upstream);
    let pool = tower::Layer::layer(&cap(1), connector.clone());
    fetch(&pool, &upstream.uri("/")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(connector.stats().live, 1);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(connector.stats().live, 0, "2 s less the margin of 1 s");
    let origin = upstream.uri("/").to_string().parse().unwrap();
    let stats = pool.stats(&origin).unwrap();
    assert_eq!(stats.closed_for(CloseReason::Idle), 1);
}

#[tokio::test(start_paused = true)]
async fn keep_alive_hints_lengthen_idle_timeouts_within_bounds() {
    let upstream = Upstream::start(|_| Reply::ok("x").header("keep-alive", "timeout=120")).await;
    let minute = Duration::from_secs(60);
    for (layer, lasts) in [
        (cap(1), Duration::from_secs(30)),
        (cap(1).keep_alive_hint_max(minute), minute),
        (
            cap(1).keep_alive_hint_max(minute * 5),
            Duration::from_secs(119),
        ),
    ] {
        let connector = tollgate_testing::Connector::memory(&upstream);
        let pool = tower::Layer::layer(&layer, connector.clone());
        fetch(&pool, &upstream.uri("/")).await.unwrap();
        let margin = Duration::from_millis(100);
        tokio::time::sleep(lasts.saturating_sub(margin)).await;
        assert_eq!(connector.stats().live, 1);
        tokio::time::sleep(margin * 2).await;
        assert_eq!(connector.stats().live, 0, "{lasts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn idle_connections_close_on_time_without_anybody_asking() {
    let upstream = Upstream::start(|_| Reply::ok("x")).await;
    let connector = tollgate_testing::Connector::memory(&upstream);
    let pool = tower::Layer::layer(&cap(8), connector.clone());
    let uri = upstream.uri("/");
    futures_util::future::join_all((0..8).map(|_| fetch(&pool, &uri))).await;
    tokio::time::sleep(Duration::from_millis(29_900)).await;
    let live = connector.stats().live;
    assert!(live > 0);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(connector.stats().live, 0);
    // And some time later the pool forgets the origin.
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert!(pool.snapshot().origins.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_replaced_after_its_lifetime() {
    let upstream = Upstream::start(|_| Reply::ok("x")).await;
    let connector = tollgate_testing::Connector::memory(&upstream);
    let layer = cap(1).max_lifetime(Duration::from_secs(100));
    let pool = tower::Layer::layer(&layer, connector.clone());
    for _ in 0..30 {
        fetch(&pool, &upstream.uri("/")).await.unwrap();
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    let opened = connector.stats().opened;
    assert!(
        (3..=4).contains(&opened),
        "{opened} connections in 300 s of 100 s each"
    );
    assert_eq!(connector.stats().peak_live, 1);
}
