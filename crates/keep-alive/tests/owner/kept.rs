//! Handles, futures and bodies that are kept.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::Request;
use http_body_util::{BodyExt, Empty};
use tollgate_keep_alive::KeepAliveOrigin;
use tollgate_testing::{Connector, Gate, Reply, Upstream};
use tower::{Layer, Service, ServiceExt};

use super::support::{cap, fetch, get, request};

/// After the idle timeout and the time after which an origin is forgotten, the clock once looked again
/// and again at an origin that it could not forget.
#[tokio::test(start_paused = true)]
async fn a_kept_origin_handle_leaves_the_clock_asleep() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let connector = Connector::memory(&upstream);
    let pool = cap(4).layer(connector.clone());
    let origin = upstream.uri("/").to_string().parse().unwrap();
    let mut handle: KeepAliveOrigin = pool.origin(&origin).unwrap();
    let call = |handle: &mut KeepAliveOrigin| {
        let ready = ServiceExt::<Request<Empty<Bytes>>>::ready_oneshot(handle.clone());
        let request = request("GET", &upstream.uri("/"));
        async move { ready.await.unwrap().call(request).await }
    };
    let answer = call(&mut handle).await.unwrap();
    answer.into_body().collect().await.unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(connector.stats().live, 0, "it idled out");
    assert!(pool.stats(&origin).is_none(), "it was forgotten");
    // And the handle still works.
    let answer = call(&mut handle).await.unwrap();
    answer.into_body().collect().await.unwrap();
    assert_eq!(pool.stats(&origin).unwrap().opened, 1, "met anew");
}

#[tokio::test(start_paused = true)]
async fn a_kept_body_and_future_hold_no_origin() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let pool = cap(4).layer(Connector::memory(&upstream));
    let origin = upstream.uri("/").to_string().parse().unwrap();
    let mut body = get(&pool, &upstream.uri("/")).await.unwrap().into_body();
    while body.frame().await.is_some() {}
    let mut future = pool.clone().call(request("GET", &upstream.uri("/")));
    let answer = (&mut future).await.unwrap();
    answer.into_body().collect().await.unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(pool.stats(&origin).is_none(), "it was forgotten");
    drop((body, future));
}

/// An origin that was met and never asked for anything once stayed for good.
#[tokio::test(start_paused = true)]
async fn an_origin_that_was_never_dialled_is_forgotten() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let pool = cap(4).layer(Connector::memory(&upstream));
    for number in 0..100 {
        let origin = format!("http://{number}.test").parse().unwrap();
        drop(pool.origin(&origin).unwrap());
    }
    assert_eq!(pool.snapshot().origins.len(), 100);
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(pool.snapshot().origins.len(), 0);
}

/// The cap that was set while the pool lives outlives what it knows of the origin otherwise.
#[tokio::test(start_paused = true)]
async fn a_cap_that_was_set_outlives_its_origin() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let pool = cap(4).layer(Connector::memory(&upstream));
    let origin = upstream.uri("/").to_string().parse().unwrap();
    pool.set_max_connections(&origin, super::n(2)).unwrap();
    fetch(&pool, &upstream.uri("/")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(pool.stats(&origin).is_none());
    fetch(&pool, &upstream.uri("/")).await.unwrap();
    assert_eq!(pool.stats(&origin).unwrap().limit, Some(2));
}

/// What a caller that gives up is to know: whether a server may have its request.
#[tokio::test(start_paused = true)]
async fn a_call_that_waited_knows_it_was_sent() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Reply::ok("ok").when(&held)).await;
    let pool = cap(1).layer(Connector::memory(&upstream));
    let mut call = pool.clone().call(request("GET", &upstream.uri("/")));
    assert!(call.nothing_sent());
    while gate.waiters() == 0 {
        assert!((&mut call).now_or_never().is_none());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!call.nothing_sent());
    gate.open();
    call.await.unwrap();
    drop(pool);
}

/// Asked again whether it is ready, an instance reserves another connection.
#[tokio::test(start_paused = true)]
async fn a_dead_reservation_is_replaced_before_the_call() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let pool = cap(1).layer(Connector::memory(&upstream));
    fetch(&pool, &upstream.uri("/")).await.unwrap();
    let origin = upstream.uri("/").to_string().parse().unwrap();
    let mut handle = pool.origin(&origin).unwrap();
    let ready =
        |handle: KeepAliveOrigin| ServiceExt::<Request<Empty<Bytes>>>::ready_oneshot(handle);
    poll_fn(|cx| Service::<Request<Empty<Bytes>>>::poll_ready(&mut handle, cx))
        .await
        .unwrap();
    upstream.close_idle();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let answer = ready(handle)
        .await
        .unwrap()
        .call(request("GET", &upstream.uri("/")));
    let timings = answer.await.unwrap().body().timings();
    assert_eq!((timings.attempts, timings.reused), (1, false));
}

/// A call that had its answer held the pool for as long as its future was kept.
#[tokio::test(start_paused = true)]
async fn a_kept_future_holds_no_pool() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let connector = Connector::memory(&upstream);
    let pool = cap(4).layer(connector.clone());
    // The second finds an idle connection.
    fetch(&pool, &upstream.uri("/")).await.unwrap();
    let mut future = pool.clone().call(request("GET", &upstream.uri("/")));
    let answer = (&mut future).await.unwrap();
    answer.into_body().collect().await.unwrap();
    drop(pool);
    connector.settled(|stats| stats.live == 0).await;
    drop(future);
}
