//! The owner's work, counted: takings of an origin's lock and turns of the clock.

#![allow(clippy::unwrap_used, reason = "a test")]

mod locks;
mod model;

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty};
use tokio::runtime::{Builder, Handle, Runtime};
use tollgate_core::Event;
use tollgate_testing::{Connector, Recorder, Reply, Upstream};
use tower::{Layer, Service, ServiceExt};

use crate::pool::origin_pool::OriginPool;
use crate::{KeepAlive, KeepAliveLayer};

const MINUTE: Duration = Duration::from_secs(60);

async fn stack() -> (KeepAlive, Upstream) {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let pool = KeepAliveLayer::new().layer(Connector::memory(&upstream));
    (pool, upstream)
}

fn get(uri: &Uri) -> Request<Empty<Bytes>> {
    Request::get(uri).body(Empty::new()).unwrap()
}

fn named(number: usize) -> Uri {
    format!("http://{number}.test/").parse().unwrap()
}

async fn fetch(pool: &KeepAlive, uri: &Uri) {
    let response = pool.clone().oneshot(get(uri)).await.unwrap();
    response.into_body().collect().await.unwrap();
}

fn origin(pool: &KeepAlive, uri: &Uri) -> Arc<OriginPool> {
    let all = pool.all_origins();
    let wanted = uri.to_string().parse().unwrap();
    all.into_iter().find(|one| one.origin == wanted).unwrap()
}

/// The cost of one request on an idle connection, in takings of its origin's lock and turns of the
/// clock, with so many other origins known.
async fn cost(others: usize) -> (u64, u64) {
    let (pool, upstream) = stack().await;
    for other in 0..others {
        let name = format!("http://{other}.test").parse().unwrap();
        drop(pool.origin(&name).unwrap());
    }
    let uri = upstream.uri("/");
    fetch(&pool, &uri).await;
    fetch(&pool, &uri).await;
    let origin = origin(&pool, &uri);
    let turns = origin.shared.clock.turns();
    let locked = origin.locked.load(Ordering::Relaxed);
    for _ in 0..10 {
        fetch(&pool, &uri).await;
    }
    let taken = origin.locked.load(Ordering::Relaxed) - locked;
    (taken, origin.shared.clock.turns() - turns)
}

#[tokio::test(start_paused = true)]
async fn a_request_takes_one_lock_twice_among_thousands() {
    assert_eq!(cost(0).await, (20, 0));
    assert_eq!(cost(10_000).await, (20, 0));
}

#[tokio::test(start_paused = true)]
async fn an_idle_timeout_costs_nothing_per_other_origin() {
    let (pool, upstream) = stack().await;
    for other in 0..1_000 {
        let uri = format!("http://{other}.test/").parse().unwrap();
        fetch(&pool, &uri).await;
    }
    let uri = upstream.uri("/");
    fetch(&pool, &uri).await;
    let origin = origin(&pool, &uri);
    let locked = origin.locked.load(Ordering::Relaxed);
    // The idle timeouts of all pass, each at its own time.
    tokio::time::sleep(MINUTE / 2 + Duration::from_secs(5)).await;
    let taken = origin.locked.load(Ordering::Relaxed) - locked;
    assert!(taken <= 10, "{taken} takings for its own timeout");
    drop(pool);
}

/// Each kind of handle is kept beside: none of them gives the clock anything to do.
#[tokio::test(start_paused = true)]
async fn an_idle_pool_takes_no_clock_turn() {
    let (pool, upstream) = stack().await;
    let uri = upstream.uri("/");
    let named = uri.to_string().parse().unwrap();
    let handle = pool.origin(&named).unwrap();
    let mut future = pool.clone().call(get(&uri));
    let response = (&mut future).await.unwrap();
    let mut body = response.into_body();
    while body.frame().await.is_some() {}
    let shared = origin(&pool, &uri).shared.clone();
    tokio::time::sleep(MINUTE * 10).await;
    let turns = shared.clock.turns();
    tokio::time::sleep(MINUTE * 10).await;
    assert_eq!(shared.clock.turns(), turns);
    drop((pool, handle, future, body));
}

/// Idle connections of two thousand origins, each with a timeout of its own to come.
#[tokio::test(start_paused = true)]
async fn two_thousand_idle_origins_take_no_clock_turn() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let day = MINUTE * 1_440;
    let layer = KeepAliveLayer::new().idle_timeout(day).max_lifetime(day);
    let pool: KeepAlive = layer.layer(Connector::memory(&upstream));
    for number in 0..2_000 {
        fetch(&pool, &named(number)).await;
    }
    let all = pool.all_origins();
    let locked = || -> u64 {
        all.iter()
            .map(|one| one.locked.load(Ordering::Relaxed))
            .sum()
    };
    tokio::time::sleep(MINUTE).await;
    let before = (pool.shared().clock.turns(), locked());
    tokio::time::sleep(MINUTE).await;
    assert_eq!((pool.shared().clock.turns(), locked()), before);
    assert_eq!(all.len(), 2_000);
}

/// Of each runtime that came and went a keeper was once remembered.
#[test]
fn the_clock_forgets_a_runtime_that_has_ended() {
    let servers = Runtime::new().unwrap();
    let upstream = servers.block_on(Upstream::start(|_| Reply::ok("ok")));
    let pool: KeepAlive = KeepAliveLayer::new().layer(Connector::tcp(upstream.addr()));
    let uri = upstream.uri("/");
    for _ in 0..3 {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(fetch(&pool, &uri));
        assert_eq!(pool.shared().clock.keepers(), 1);
        drop(runtime);
        assert_eq!(pool.shared().clock.keepers(), 0);
    }
}

/// It was forgotten between the look into the table and the transaction.
#[tokio::test(start_paused = true)]
async fn a_warm_up_goes_to_the_successor_of_a_forgotten_origin() {
    let (pool, upstream) = stack().await;
    let uri = upstream.uri("/");
    fetch(&pool, &uri).await;
    let kept = origin(&pool, &uri);
    tokio::time::sleep(MINUTE * 10).await;
    assert!(kept.is_forgotten());
    kept.warm(1, &Handle::current()).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(pool.snapshot().origins[0].idle, 1);
    assert_eq!(kept.stats().idle, 0);
}

/// A pool that idles, with connections that do not, has nothing to do either.
#[tokio::test(start_paused = true)]
async fn a_connection_in_use_takes_no_clock_turn() {
    let (pool, upstream) = stack().await;
    let uri = upstream.uri("/");
    let response = pool.clone().oneshot(get(&uri)).await.unwrap();
    let shared = origin(&pool, &uri).shared.clone();
    tokio::time::sleep(MINUTE * 10).await;
    let turns = shared.clock.turns();
    tokio::time::sleep(MINUTE * 10).await;
    assert_eq!(shared.clock.turns(), turns);
    drop(response);
}

/// Records at each release of a lease if its connection still counts as in an exchange.
fn in_exchange(pool: Arc<OnceLock<Arc<OriginPool>>>) -> Arc<Recorder<bool>> {
    let one = |inner: &crate::pool::inner::Inner| {
        let mut conns = inner.conns.iter().flatten();
        conns.any(|entry| entry.conn.io.in_exchange())
    };
    Recorder::new(move |event| match event {
        Event::Released { .. } => Some(pool.get()?.read(one)),
        _ => None,
    })
}

/// The next lease may be granted, and its exchange begun, before the give-back returns: an end that was
/// noted after that would be taken for the end of the new one.
#[tokio::test(start_paused = true)]
async fn an_exchange_ends_before_its_lease_is_released() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let watched = Arc::new(OnceLock::new());
    let seen = in_exchange(watched.clone());
    let layer = KeepAliveLayer::new().observer(seen.clone());
    let pool: KeepAlive = layer.layer(Connector::memory(&upstream));
    let uri = upstream.uri("/");
    fetch(&pool, &uri).await;
    assert!(watched.set(origin(&pool, &uri)).is_ok());
    fetch(&pool, &uri).await;
    assert_eq!(seen.take(), [false]);
    drop(seen);
}
