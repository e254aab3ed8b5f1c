//! Clients and connections that end while others go on.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::time::Duration;

use futures_util::future::join_all;
use http_body_util::BodyExt;
use support::{LONG, Stack, cap, fetch, get};
use tollgate_core::CloseReason;
use tollgate_keep_alive::{KeepAliveError, KeepAliveErrorKind};
use tollgate_testing::{Connector, Gate, Reply, Upstream, within};
use tower::{Layer, ServiceExt};

#[tokio::test]
async fn dropping_the_client_closes_only_idle_connections() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |request| match &*request.target {
        "/held" => Reply::chunked()
            .chunk("a")
            .wait(&held)
            .chunk("b")
            .end_chunks(),
        _ => Reply::ok("ok"),
    })
    .await;
    let Stack {
        pool, connector, ..
    } = Stack::new(&upstream, &cap(4));
    let (one, other) = (upstream.uri("/"), upstream.uri("/held"));
    let streaming = get(&pool, &other).await.unwrap();
    fetch(&pool, &one).await.unwrap();
    assert_eq!(connector.stats().live, 2);
    drop(pool);
    connector.settled(|stats| stats.live == 1).await;
    gate.open();
    let body = within(LONG, streaming.into_body().collect()).await.unwrap();
    assert_eq!(body.to_bytes(), "ab");
    connector.settled(|stats| stats.live == 0).await;
}

#[tokio::test]
async fn a_call_outlives_the_dropped_client() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let Stack {
        pool, connector, ..
    } = Stack::new(&upstream, &cap(1));
    let call = pool.oneshot(support::request("GET", &upstream.uri("/")));
    let response = within(LONG, call).await.unwrap();
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "ok"
    );
    connector.settled(|stats| stats.live == 0).await;
}

#[tokio::test]
async fn a_drain_cuts_unfinished_exchanges_at_its_deadline() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |request| match &*request.target {
        "/held" => Reply::ok("ok").when(&held),
        _ => Reply::never(),
    })
    .await;
    let stack = Stack::new(&upstream, &cap(4));
    let calls: Vec<_> = ["/held", "/never"]
        .map(|path| {
            let (pool, uri) = (stack.pool.clone(), upstream.uri(path));
            tokio::spawn(async move { fetch(&pool, &uri).await })
        })
        .into();
    gate.reached(1).await;
    upstream.settled(|stats| stats.requests == 2).await;
    let drain = tokio::spawn({
        let pool = stack.pool.clone();
        async move { pool.drain(Duration::from_millis(300)).await }
    });
    tokio::task::yield_now().await;
    gate.open();
    assert_eq!(drain.await.unwrap(), 1, "one exchange was cut");
    let mut outcomes = join_all(calls).await.into_iter().map(Result::unwrap);
    assert_eq!(outcomes.next().unwrap().unwrap(), "ok");
    let cut = outcomes.next().unwrap().unwrap_err();
    let cut = cut.downcast::<KeepAliveError>().unwrap();
    assert_eq!(cut.kind(), KeepAliveErrorKind::ClosedAfterSent);
    let error = get(&stack.pool, &upstream.uri("/held")).await.unwrap_err();
    assert_eq!(error.kind(), KeepAliveErrorKind::Closed);
    stack.connector.settled(|stats| stats.live == 0).await;
}

/// The cut once passed over a connection that its peer had closed: one unread answer kept its socket
/// and its place for as long as the caller liked.
#[tokio::test]
async fn a_drain_cuts_unread_answers_of_closed_peers() {
    let upstream = Upstream::start(|_| Reply::ok("ok").close()).await;
    let stack = Stack::new(&upstream, &cap(1));
    let unread = get(&stack.pool, &upstream.uri("/")).await.unwrap();
    upstream.settled(|stats| stats.live == 0).await;
    tokio::task::yield_now().await;
    assert_eq!(stack.pool.drain(Duration::ZERO).await, 1);
    stack.connector.settled(|stats| stats.live == 0).await;
    let stats = stack.settled(|stats| stats.open == 0).await;
    assert_eq!(stats.closed_for(CloseReason::Shutdown), 1);
    drop(unread);
}

#[tokio::test]
async fn an_address_gone_from_dns_is_retired_gracefully() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Reply::chunked().chunk("a").wait(&held).end_chunks());
    let upstream = upstream.await;
    let addr = upstream.addr();
    let connector = Connector::tcp(addr).connected(move || {
        let mut dial = tollgate_core::DialInfo::default();
        dial.remote = Some(addr);
        hyper_util::client::legacy::connect::Connected::new().extra(dial)
    });
    let pool = cap(4).layer(connector.clone());
    let streaming = get(&pool, &upstream.uri("/")).await.unwrap();
    let host = addr.ip().to_string();
    assert_eq!(pool.retire_some(&host, &[addr], usize::MAX), 0);
    gate.open();
    assert_eq!(
        streaming.into_body().collect().await.unwrap().to_bytes(),
        "a"
    );
    connector.settled(|stats| stats.live == 0).await;
    let stats = pool
        .stats(&upstream.uri("/").to_string().parse().unwrap())
        .unwrap();
    assert_eq!(stats.closed_for(CloseReason::AddressGone), 1);
}

#[tokio::test]
async fn warming_opens_connections_before_anybody_asks() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let stack = Stack::new(&upstream, &cap(4));
    stack.pool.warm(&stack.origin, 3).unwrap();
    stack.settled(|stats| stats.idle == 3).await;
    fetch(&stack.pool, &upstream.uri("/")).await.unwrap();
    assert_eq!(upstream.accepted(), 3);
}
