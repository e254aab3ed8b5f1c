//! The cap over all origins.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::num::NonZeroUsize;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join_all;
use http::{Request, Uri};
use http_body_util::Empty;
use support::{LONG, cap, fetch, request};
use tollgate_core::CloseReason;
use tollgate_keep_alive::{KeepAlive, KeepAliveLayer, KeepAliveOrigin, OriginStats, TotalLimit};
use tollgate_testing::{Connector, Reply, Upstream, within};
use tower::{Layer, ServiceExt};

const A: &str = "http://a.test/";
const B: &str = "http://b.test/";
const C: &str = "http://c.test/";

fn reclaimed(pool: &KeepAlive) -> u64 {
    let of = |stats: &OriginStats| stats.closed_for(CloseReason::Reclaimed);
    pool.snapshot().origins.iter().map(of).sum()
}

/// Four connections to one origin, which are all there may be, each reserved.
async fn four_to_a(upstream: &Upstream) -> (KeepAlive, Connector, Vec<KeepAliveOrigin>) {
    let connector = Connector::tcp(upstream.addr());
    let layer = cap(4).max_connections_total(NonZeroUsize::new(4).unwrap());
    let pool = layer.layer(connector.clone());
    let service = pool.origin(&A.parse().unwrap()).unwrap();
    let held = (0..4).map(|_| ServiceExt::<Request<Empty<Bytes>>>::ready_oneshot(service.clone()));
    let held = within(LONG, join_all(held)).await;
    (
        pool,
        connector,
        held.into_iter().map(Result::unwrap).collect(),
    )
}

/// Each connection that fell idle while another was still closing was once closed too.
#[tokio::test]
async fn one_waiter_reclaims_only_one_connection() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let (pool, connector, mut held) = four_to_a(&upstream).await;
    held.pop();
    let mut waiter = Box::pin(pool.clone().oneshot(request("GET", &Uri::from_static(B))));
    assert!(waiter.as_mut().now_or_never().is_none());
    // In the same turn of the runtime: the connection that makes room has not closed yet.
    drop(held);
    within(LONG, waiter).await.unwrap();
    assert_eq!(reclaimed(&pool), 1);
    assert_eq!(connector.stats().peak_live, 4);
}

/// Connections that fell idle were once closed for one who had left.
#[tokio::test]
async fn no_connection_is_closed_for_one_who_left() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let (pool, connector, held) = four_to_a(&upstream).await;
    let mut waiter = Box::pin(pool.clone().oneshot(request("GET", &Uri::from_static(B))));
    assert!(waiter.as_mut().now_or_never().is_none());
    drop(waiter);
    drop(held);
    fetch(&pool, &Uri::from_static(A)).await.unwrap();
    assert_eq!((reclaimed(&pool), connector.stats().calls), (0, 4));
}

/// A warm-up that waited for a place was once given one before a request that came later, at a dial for
/// both.
#[tokio::test]
async fn a_warm_up_waits_behind_every_request() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let (pool, connector, mut held) = four_to_a(&upstream).await;
    pool.warm(&B.parse().unwrap(), 1).unwrap();
    let mut waiter = Box::pin(pool.clone().oneshot(request("GET", &Uri::from_static(A))));
    assert!(waiter.as_mut().now_or_never().is_none());
    held.pop();
    let answer = within(LONG, waiter).await.unwrap();
    assert_eq!((reclaimed(&pool), connector.stats().calls), (0, 4));
    drop(answer);
    drop(held);
    let warmed = || pool.stats(&B.parse().unwrap()).unwrap().open == 1;
    within(LONG, async {
        while !warmed() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!((reclaimed(&pool), connector.stats().calls), (1, 5));
}

#[tokio::test]
async fn two_waiters_reclaim_two_connections() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let (pool, connector, held) = four_to_a(&upstream).await;
    let mut waiters = [B, C].map(|uri| {
        let request = request("GET", &Uri::from_static(uri));
        Box::pin(pool.clone().oneshot(request))
    });
    for waiter in &mut waiters {
        assert!(waiter.as_mut().now_or_never().is_none());
    }
    drop(held);
    for answer in within(LONG, join_all(waiters)).await {
        drop(answer.unwrap());
    }
    assert_eq!(reclaimed(&pool), 2);
    assert_eq!(connector.stats().peak_live, 4);
}

#[tokio::test]
async fn a_full_total_reclaims_another_origins_idle_connection() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let connector = Connector::tcp(upstream.addr());
    let pool = KeepAliveLayer::new()
        .max_connections_total(NonZeroUsize::MIN)
        .layer(connector.clone());
    fetch(&pool, &Uri::from_static("http://a.test/"))
        .await
        .unwrap();
    let started = tokio::time::Instant::now();
    fetch(&pool, &Uri::from_static("http://b.test/"))
        .await
        .unwrap();
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(connector.stats().peak_live, 1);
    let a = pool.stats(&"http://a.test".parse().unwrap()).unwrap();
    assert_eq!(a.closed_for(CloseReason::Reclaimed), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_origins_finish_beside_two_saturated_ones() {
    const TOTAL: usize = 8;
    let delay = Duration::from_millis(2);
    let upstream = Upstream::builder()
        .backlog(4096)
        .reply(move |_| Reply::ok("ok").after(delay))
        .start()
        .await;
    let connector = Connector::tcp(upstream.addr());
    let layer = cap(TOTAL).max_connections_total(NonZeroUsize::new(TOTAL).unwrap());
    let pool = layer.layer(connector.clone());

    let mut callers = Vec::new();
    for origin in 0..20 {
        let uri: Uri = format!("http://origin-{origin}.test/").parse().unwrap();
        for _ in 0..if origin < 2 { 60 } else { 3 } {
            let (pool, uri) = (pool.clone(), uri.clone());
            callers.push(tokio::spawn(async move {
                let mut longest = Duration::ZERO;
                for _ in 0..10 {
                    let started = tokio::time::Instant::now();
                    fetch(&pool, &uri).await.unwrap();
                    longest = longest.max(started.elapsed());
                }
                (origin, longest)
            }));
        }
    }
    let mut starved = Duration::ZERO;
    for caller in join_all(callers).await {
        let (origin, longest) = caller.unwrap();
        if origin >= 2 {
            starved = starved.max(longest);
        }
    }
    assert!(
        connector.stats().peak_live <= TOTAL,
        "{:?}",
        connector.stats()
    );
    assert!(
        starved < Duration::from_secs(5),
        "a small origin waited {starved:?}"
    );
}

/// Two pools under one limit, over one connector.
fn two_pools(upstream: &Upstream, max: usize) -> (KeepAlive, KeepAlive, Connector) {
    let connector = Connector::tcp(upstream.addr());
    let layer = KeepAliveLayer::new().total_limit(TotalLimit::new(NonZeroUsize::new(max).unwrap()));
    let (one, other) = (
        layer.layer(connector.clone()),
        layer.layer(connector.clone()),
    );
    (one, other, connector)
}

#[tokio::test]
async fn a_shared_limit_of_one_serves_both_pools() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let (one, other, connector) = two_pools(&upstream, 1);
    let (a, b) = (Uri::from_static(A), Uri::from_static(B));
    for _ in 0..3 {
        for (pool, uri) in [(&one, &a), (&other, &a), (&one, &b), (&other, &b)] {
            within(LONG, fetch(pool, uri)).await.unwrap();
        }
    }
    assert_eq!(connector.stats().peak_live, 1);
    assert_eq!(reclaimed(&one) + reclaimed(&other), 11);
}

#[tokio::test]
async fn pools_under_one_limit_open_no_more_together() {
    const TOTAL: usize = 4;
    let delay = Duration::from_millis(2);
    let upstream = Upstream::start(move |_| Reply::ok("ok").after(delay)).await;
    let (one, other, connector) = two_pools(&upstream, TOTAL);
    let callers = (0..40).map(|caller| {
        let pool = if caller % 2 == 0 { &one } else { &other }.clone();
        let uri = if caller % 4 < 2 { A } else { B };
        tokio::spawn(async move {
            for _ in 0..10 {
                fetch(&pool, &Uri::from_static(uri)).await.unwrap();
            }
        })
    });
    for caller in within(LONG, join_all(callers)).await {
        caller.unwrap();
    }
    assert!(
        connector.stats().peak_live <= TOTAL,
        "{:?}",
        connector.stats()
    );
}

/// The place of a pool that is gone is the other's.
#[tokio::test]
async fn a_closed_pool_passes_its_places_on() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let (one, other, connector) = two_pools(&upstream, 1);
    let held = one.clone().oneshot(request("GET", &Uri::from_static(A)));
    let held = held.await.unwrap();
    let mut waiter = Box::pin(other.clone().oneshot(request("GET", &Uri::from_static(A))));
    assert!(waiter.as_mut().now_or_never().is_none());
    one.close();
    drop((one, held));
    within(LONG, waiter).await.unwrap();
    assert_eq!(connector.stats().peak_live, 1);
}
