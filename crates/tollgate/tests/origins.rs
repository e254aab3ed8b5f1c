//! Limits that one origin has of its own.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use support::{client_with, text};
use tokio::time::{Instant, sleep};
use tollgate::{Client, ErrorKind, OriginOptions, Phase};
use tollgate_testing::io::Plan;
use tollgate_testing::{Connector, Gate, Reply, Upstream};

const OWN: &str = "http://own.internal";
const OTHER: &str = "http://other.internal";

/// A client of both origins, over memory, in which the first one has options of its own.
fn client(connector: Connector, own: impl FnOnce(OriginOptions) -> OriginOptions) -> Client {
    client_with(|b| {
        b.connector(connector)
            .max_connections_per_origin(1)
            .origin(OWN, own)
    })
}

/// One request is being answered, until the gate opens, by each origin.
async fn busy(client: &Client, gate: &Gate) {
    for origin in [OWN, OTHER] {
        tokio::spawn(client.get(origin));
    }
    gate.reached(2).await;
}

async fn held() -> (Upstream, Gate) {
    let gate = Gate::new();
    let held = gate.clone();
    (
        Upstream::start(move |_| Reply::ok("ok").when(&held)).await,
        gate,
    )
}

#[tokio::test(start_paused = true)]
async fn origin_has_its_own_queue_and_acquire_timeout() {
    let (upstream, gate) = held().await;
    let never = client(Connector::memory(&upstream), |o| o.max_waiting(0));
    busy(&never, &gate).await;
    let error = never.get(OWN).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::QueueFull);

    let (upstream, gate) = held().await;
    let limit = Duration::from_millis(70);
    let short = client(Connector::memory(&upstream), |o| o.acquire_timeout(limit));
    busy(&short, &gate).await;
    for (origin, limit) in [(OWN, limit), (OTHER, Duration::from_secs(3))] {
        let started = Instant::now();
        let error = short.get(origin).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::QueueTimeout);
        assert_eq!((started.elapsed(), error.timings().queued), (limit, limit));
    }
}

#[tokio::test(start_paused = true)]
async fn origin_has_its_own_idle_and_lifetime_limits() {
    let shorter = |o: OriginOptions| o.idle_timeout(Duration::from_secs(4));
    for (own, at_first) in [
        (shorter as fn(OriginOptions) -> OriginOptions, 1),
        (|o| o.max_lifetime(Duration::from_secs(4)), 1),
        (|o| o.max_idle_per_origin(0), 0),
    ] {
        let upstream = Upstream::start(|_| Reply::ok("ok")).await;
        let client = client(Connector::memory(&upstream), own);
        for origin in [OWN, OTHER] {
            text(client.get(origin).await.unwrap()).await;
        }
        let idle = |origin| client.stats(origin).unwrap().idle;
        assert_eq!((idle(OWN), idle(OTHER)), (at_first, 1));
        sleep(Duration::from_secs(6)).await;
        assert_eq!((idle(OWN), idle(OTHER)), (0, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn origin_has_its_own_connect_timeout() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let connector = Connector::memory(&upstream).script(|_| Plan::hang());
    for own in [Duration::from_millis(250), Duration::from_secs(20)] {
        let client = client(connector.clone(), |o| o.connect_timeout(own));
        for (origin, budget) in [(OWN, own), (OTHER, Duration::from_secs(5))] {
            let started = Instant::now();
            let error = client.get(origin).await.err().unwrap();
            assert!(matches!(error.kind(), ErrorKind::ConnectTimeout { .. }));
            assert_eq!(started.elapsed(), budget);
            assert!(
                error.to_string().contains(&format!("{budget:?}")),
                "{error}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_origin_override_replaces_earlier_ones() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let connector = Connector::memory(&upstream).script(|_| Plan::hang());
    let long = Duration::from_secs(20);
    // The same origin, written in two ways.
    let client = client_with(|b| {
        b.connector(connector.clone())
            .origin("HTTP://own.internal:80", |o| o.connect_timeout(long))
            .origin(OWN, |o| o.max_connections_per_origin(2))
    });
    let started = Instant::now();
    let error = client.get(OWN).await.err().unwrap();
    assert_eq!(started.elapsed(), Duration::from_secs(5), "{error}");
    assert_eq!(client.stats(OWN).unwrap().limit, Some(2));
}

#[tokio::test(start_paused = true)]
async fn dns_lookup_waits_for_the_longest_origin_budget() {
    let hangs = tower::service_fn(|_| pending::<io::Result<std::vec::IntoIter<SocketAddr>>>());
    let long = Duration::from_secs(20);
    let client = client_with(|b| b.resolver(hangs).origin(OWN, |o| o.connect_timeout(long)));
    for (origin, budget) in [(OWN, long), (OTHER, Duration::from_secs(5))] {
        let started = Instant::now();
        let error = client.get(origin).await.err().unwrap();
        let phase = Phase::Dns;
        assert_eq!(error.kind(), ErrorKind::ConnectTimeout { phase }, "{error}");
        assert_eq!(started.elapsed(), budget);
    }
}

#[tokio::test(start_paused = true)]
async fn origin_overrides_max_connecting_and_min_idle() {
    let (upstream, _gate) = held().await;
    let connector = Connector::memory(&upstream).script(|_| Plan::hang());
    let client = client_with(|b| {
        b.connector(connector).origin(OWN, |o| {
            o.max_connecting_per_origin(2)
                .max_connections_per_origin(200)
        })
    });
    let mut calls = tokio::task::JoinSet::new();
    for origin in [OWN, OTHER] {
        for _ in 0..20 {
            calls.spawn(client.get(origin));
        }
    }
    sleep(Duration::from_millis(1)).await;
    let connecting = |origin| client.stats(origin).unwrap().connecting;
    assert_eq!((connecting(OWN), connecting(OTHER)), (2, 16));

    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let client = client_with(|b| {
        b.connector(Connector::memory(&upstream))
            .origin(OWN, |o| o.min_idle_per_origin(3))
    });
    for origin in [OWN, OTHER] {
        text(client.get(origin).await.unwrap()).await;
    }
    sleep(Duration::from_secs(1)).await;
    let idle = |origin| client.stats(origin).unwrap().idle;
    // Beside the one that was busy when they were asked for.
    assert!(idle(OWN) >= 3 && idle(OTHER) == 1);
}
