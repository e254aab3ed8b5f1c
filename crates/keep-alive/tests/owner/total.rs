//! The total cap, which follows from every touch of an origin.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join_all;
use http::Uri;
use http_body_util::BodyExt;
use tollgate_core::BoxError;
use tollgate_keep_alive::{KeepAlive, KeepAliveLayer};
use tollgate_testing::io::Plan;
use tollgate_testing::{Connector, Gate, Reply, Upstream, within};
use tower::{Layer, Service, ServiceExt};

use super::n;
use super::support::{LONG, cap, fetch, get, holding, request};

fn a() -> Uri {
    Uri::from_static("http://a.test/")
}

fn b() -> Uri {
    Uri::from_static("http://b.test/")
}
const WAIT: Duration = Duration::from_secs(2);

fn total(total: usize) -> KeepAliveLayer {
    cap(16)
        .max_connections_total(n(total))
        .acquire_timeout(WAIT)
}

async fn served(pool: &KeepAlive, uri: &Uri) -> Result<Bytes, BoxError> {
    within(LONG, fetch(pool, uri)).await
}

/// The dial of a caller that left ended beside another origin that waited for its place.
#[tokio::test(start_paused = true)]
async fn a_cancelled_callers_dial_gives_up_its_place() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let gate = Gate::new();
    let held = gate.clone();
    let connector = Connector::memory(&upstream).script(move |dial| match dial.nth {
        0 => Plan::connect().when(&held),
        _ => Plan::connect(),
    });
    let pool = total(1).layer(connector);
    let uri = a();
    let mut first = Box::pin(get(&pool, &uri));
    assert!((&mut first).now_or_never().is_none());
    gate.reached(1).await;
    drop(first);
    let (pool, waiting) = (pool.clone(), pool);
    let second =
        tokio::spawn(async move { served(&waiting, &b()).await.map_err(|e| e.to_string()) });
    tokio::task::yield_now().await;
    gate.open();
    assert_eq!(second.await.unwrap().unwrap(), "ok");
    drop(pool);
}

/// A lease that was handed to a request that was dropped unpolled left its connection idle, beside
/// another origin that waited for its place.
#[tokio::test(start_paused = true)]
async fn an_unpolled_calls_lease_gives_up_its_place() {
    let gate = Gate::new();
    let upstream = holding(&gate).await;
    let pool = total(1).layer(Connector::memory(&upstream));
    let busy = tokio::spawn({
        let pool = pool.clone();
        async move {
            fetch(&pool, &Uri::from_static("http://a.test/held"))
                .await
                .unwrap()
        }
    });
    gate.reached(1).await;
    let unpolled = pool.clone().call(request("GET", &a()));
    let other = tokio::spawn({
        let pool = pool.clone();
        async move { served(&pool, &b()).await.map_err(|error| error.to_string()) }
    });
    tokio::task::yield_now().await;
    gate.open();
    busy.await.unwrap();
    drop(unpolled);
    assert_eq!(other.await.unwrap().unwrap(), "ok");
}

/// A spare connection once stood in the line since its origin's oldest request, for which another dial
/// was on its way.
#[tokio::test(start_paused = true)]
async fn a_spare_connection_waits_behind_younger_requests() {
    let (dials, busy) = (Gate::new(), Gate::new());
    let upstream = holding(&busy).await;
    let held = dials.clone();
    let connector = Connector::memory(&upstream).script(move |dial| match dial.nth {
        1 => Plan::connect().when(&held),
        _ => Plan::connect(),
    });
    let pool = total(2).layer(connector.clone());
    let holder = tokio::spawn({
        let pool = pool.clone();
        async move { fetch(&pool, &Uri::from_static("http://c.test/held")).await }
    });
    busy.reached(1).await;
    let (first, second) = (a(), b());
    let origin = "http://a.test".parse().unwrap();
    let mut of_a = Box::pin(get(&pool, &first));
    assert!((&mut of_a).now_or_never().is_none());
    dials.reached(1).await;
    pool.warm(&origin, 2).unwrap();
    tokio::time::advance(Duration::from_millis(10)).await;
    let mut of_b = Box::pin(get(&pool, &second));
    assert!((&mut of_b).now_or_never().is_none());
    busy.open();
    within(LONG, of_b).await.unwrap();
    assert_eq!(pool.stats(&origin).unwrap().opened, 0);
    dials.open();
    within(LONG, of_a).await.unwrap();
    assert_eq!(holder.await.unwrap().unwrap(), "ok");
    assert_eq!(connector.stats().peak_live, 2);
}

/// Holding one place once excluded an origin from every further one, beside another that kept its
/// connections busy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_with_one_place_gets_another() {
    let gate = Gate::new();
    let held = gate.clone();
    let delay = Duration::from_millis(1);
    let upstream = Upstream::start(move |request| match &*request.target {
        "/stream" => Reply::ok("ok").when(&held),
        _ => Reply::ok("ok").after(delay),
    })
    .await;
    let connector = Connector::tcp(upstream.addr());
    let pool = total(4).acquire_timeout(LONG).layer(connector.clone());
    let stream = tokio::spawn({
        let pool = pool.clone();
        async move { fetch(&pool, &Uri::from_static("http://b.test/stream")).await }
    });
    gate.reached(1).await;
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                loop {
                    let _refused_when_it_waits_too_long = fetch(&pool, &a()).await;
                }
            })
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(served(&pool, &b()).await.unwrap(), "ok");
    }
    for caller in callers {
        caller.abort();
    }
    gate.open();
    stream.await.unwrap().unwrap();
    assert!(connector.stats().peak_live <= 4, "{:?}", connector.stats());
}

/// Two busy origins share the places; they do not take a connection from each other with every
/// request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy_origins_under_a_total_keep_their_connections() {
    let delay = Duration::from_millis(2);
    let upstream = Upstream::start(move |_| Reply::ok("ok").after(delay)).await;
    let connector = Connector::tcp(upstream.addr());
    let layer = total(4).acquire_timeout(LONG);
    let pool = layer.layer(connector.clone());
    let callers = (0..20).map(|caller| {
        let (pool, uri) = (pool.clone(), if caller % 2 == 0 { a() } else { b() });
        tokio::spawn(async move {
            for _ in 0..25 {
                fetch(&pool, &uri).await.unwrap();
            }
        })
    });
    for caller in join_all(callers).await {
        caller.unwrap();
    }
    let opened = connector.stats().opened;
    // In the bare order it is one for nearly every request.
    assert!(opened <= 250, "{opened} connections for 500 requests");
}

/// A body read to its end in another task than the call's returns the place all the same.
#[tokio::test]
async fn a_total_of_one_serves_origins_in_turn() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let connector = Connector::tcp(upstream.addr());
    let pool = total(1).layer(connector.clone());
    for uri in [a(), b(), a(), b()] {
        let response = get(&pool, &uri).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(connector.stats().peak_live, 1);
}

/// An origin that was to be warmed, and waited for a place for that, was forgotten while it waited. It
/// got a place all the same, and opened a connection that no request could reach.
#[tokio::test(start_paused = true)]
async fn an_origin_that_waits_is_not_forgotten() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Reply::ok("ok").when(&held)).await;
    let connector = Connector::memory(&upstream);
    let pool = total(1).layer(connector.clone());
    let busy = tokio::spawn({
        let pool = pool.clone();
        async move { pool.oneshot(request("GET", &a())).await.unwrap() }
    });
    gate.reached(1).await;
    let warmed = b().to_string().parse().unwrap();
    pool.warm(&warmed, 1).unwrap();
    tokio::time::sleep(Duration::from_secs(300)).await;
    gate.open();
    let body = busy.await.unwrap().into_body();
    body.collect().await.unwrap();
    connector.settled(|stats| stats.calls == 2).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(pool.stats(&warmed).map(|stats| stats.idle), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_failed_dial_gives_its_place_back() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let connector = Connector::memory(&upstream).script(|dial| match dial.nth {
        0 => Plan::fail(std::io::ErrorKind::ConnectionRefused),
        _ => Plan::connect(),
    });
    let pool = total(1).layer(connector);
    served(&pool, &a()).await.unwrap_err();
    let started = tokio::time::Instant::now();
    assert_eq!(served(&pool, &b()).await.unwrap(), "ok");
    assert!(started.elapsed() < Duration::from_millis(10));
}

/// A connection whose lease comes back is closed for an origin that has waited longer than the next
/// request of its own.
#[tokio::test(start_paused = true)]
async fn a_returned_lease_serves_the_longest_wait() {
    let gate = Gate::new();
    let upstream = holding(&gate).await;
    let pool = total(1).layer(Connector::memory(&upstream));
    let call = |uri: &'static str| {
        let pool = pool.clone();
        tokio::spawn(async move { served(&pool, &Uri::from_static(uri)).await.is_ok() })
    };
    let mut calls = Vec::new();
    for uri in ["http://a.test/held", "http://b.test/b", "http://a.test/a"] {
        calls.push(call(uri));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    gate.open();
    for answered in join_all(calls).await {
        assert!(answered.unwrap());
    }
    let targets: Vec<_> = upstream
        .requests()
        .into_iter()
        .map(|one| one.target)
        .collect();
    assert_eq!(targets, ["/held", "/b", "/a"]);
}

/// An origin was once listed with the connection that had idled first when it came to idle, also where one
/// came back later that had idled for longer.
#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_reclaimed_by_age() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let pool: KeepAlive = total(3).layer(Connector::memory(&upstream));
    let (a, b, c) = (a(), b(), Uri::from_static("http://c.test/"));
    // Its connection is reserved for it from now on, and is not used.
    let unpolled = pool.clone().call(request("GET", &a));
    let used = within(LONG, get(&pool, &a)).await.unwrap();
    tokio::time::advance(Duration::from_millis(10)).await;
    served(&pool, &b).await.unwrap();
    tokio::time::advance(Duration::from_millis(10)).await;
    drop(used.into_body().collect().await.unwrap());
    drop(unpolled);
    served(&pool, &c).await.unwrap();
    let open = |uri: &Uri| {
        let origin = tollgate_core::Origin::from_uri(uri).unwrap();
        pool.stats(&origin).unwrap().open
    };
    assert_eq!((open(&a), open(&b), open(&c)), (1, 1, 1));
}

/// An origin is listed anew for each of its idle connections: listed once, it kept the others.
#[tokio::test(start_paused = true)]
async fn each_idle_connection_of_an_origin_is_reclaimed() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let pool: KeepAlive = total(2).layer(Connector::memory(&upstream));
    let a = a();
    for answer in join_all([get(&pool, &a), get(&pool, &a)]).await {
        answer.unwrap().into_body().collect().await.unwrap();
    }
    assert_eq!(pool.snapshot().origins[0].idle, 2);
    let held = within(LONG, get(&pool, &b())).await.unwrap();
    served(&pool, &Uri::from_static("http://c.test/"))
        .await
        .unwrap();
    drop(held);
}
