//! Callers' code that panics: bodies, observers, connectors, resolvers.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Request;
use http_body::Frame;
use http_body_util::BodyExt;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use support::{Stack, assert_at_rest, cap, fetch, get, post, send};
use tollgate_keep_alive::KeepAliveErrorKind;
use tollgate_testing::io::Plan;
use tollgate_testing::{Connector, Recorder, Reply, Upstream};
use tower::Layer;

#[tokio::test]
async fn a_connector_that_panics_leaks_no_lease() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let connector = Connector::tcp(upstream.addr()).script(|dial| match dial.nth {
        0 => Plan::panic(),
        1 => Plan::panic_in_call(),
        _ => Plan::connect(),
    });
    let pool = cap(1).layer(connector);
    let uri = upstream.uri("/");
    for _ in 0..2 {
        let error = get(&pool, &uri).await.unwrap_err();
        assert_eq!(error.kind(), KeepAliveErrorKind::Connect);
    }
    assert_eq!(fetch(&pool, &uri).await.unwrap(), "ok");
    assert_at_rest(&pool.stats(&uri.to_string().parse().unwrap()).unwrap());
}

#[tokio::test]
async fn a_resolver_that_panics_leaks_no_lease() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let (addr, asked) = (upstream.addr(), Arc::new(AtomicUsize::new(0)));
    let resolver = tower::service_fn(move |_: Name| {
        let nth = asked.fetch_add(1, Ordering::SeqCst);
        async move {
            assert!(nth >= 2, "the resolver");
            Ok::<_, Infallible>(std::iter::once(SocketAddr::from((addr.ip(), 0))))
        }
    });
    let pool = cap(1).layer(HttpConnector::new_with_resolver(resolver));
    let uri = format!("http://service.test:{}/", addr.port())
        .parse()
        .unwrap();
    for _ in 0..2 {
        let error = get(&pool, &uri).await.unwrap_err();
        assert_eq!(error.kind(), KeepAliveErrorKind::Connect);
    }
    assert_eq!(fetch(&pool, &uri).await.unwrap(), "ok");
    assert_at_rest(&pool.stats(&uri.to_string().parse().unwrap()).unwrap());
}

/// A request body that panics when it is polled, for the first time or later.
struct PanickingBody(usize);

impl http_body::Body for PanickingBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        assert!(self.0 > 0, "the body");
        self.0 -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from("piece")))))
    }
}

#[tokio::test]
async fn a_panicking_request_body_costs_only_its_connection() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let stack = Stack::new(&upstream, &cap(1));
    for pieces in [0, 1, 3, 0, 1] {
        let request = Request::post(upstream.uri("/"))
            .body(PanickingBody(pieces))
            .unwrap();
        assert!(send(&stack.pool, request).await.is_err());
        assert_eq!(fetch(&stack.pool, &upstream.uri("/")).await.unwrap(), "ok");
        let response = post(&stack.pool, &upstream.uri("/"), "fine").await.unwrap();
        response.into_body().collect().await.unwrap();
    }
    assert_at_rest(&stack.settled(|stats| stats.in_flight == 0).await);
    assert_eq!(stack.connector.stats().peak_live, 1);
}

/// Panics at every event of one kind.
fn panicking(kind: &'static str) -> Arc<Recorder<()>> {
    Recorder::new(move |event| {
        assert!(!format!("{event:?}").starts_with(kind), "the observer");
        None
    })
}

#[tokio::test]
async fn an_observer_that_panics_leaks_nothing() {
    for kind in [
        "Queued",
        "Granted",
        "Refused",
        "Released",
        "Retried",
        "ConnectStarted",
        "Opened",
        "ConnectFailed",
        "Closed",
    ] {
        every_transition(kind).await;
    }
}

/// Goes through every transition there is, with an observer that panics at one kind of event.
async fn every_transition(kind: &'static str) {
    let upstream = Upstream::start(|request| match &*request.target {
        "/dies" if request.nth > 0 => Reply::nothing().close(),
        "/slow" => Reply::ok("ok").after(Duration::from_millis(5)),
        _ => Reply::ok("ok").closing(),
    })
    .await;
    let connector = Connector::tcp(upstream.addr()).script(|dial| match dial.nth {
        3 => Plan::fail(std::io::ErrorKind::ConnectionRefused),
        _ => Plan::connect(),
    });
    let layer = cap(2)
        .max_waiting(6)
        .max_connections_total(std::num::NonZeroUsize::new(2).unwrap())
        .observer(panicking(kind));
    let pool = layer.layer(connector.clone());
    for round in 0..4 {
        let calls = (0..10).map(|n| {
            let path = ["/dies", "/slow", "/"][n % 3];
            let (pool, uri) = (pool.clone(), upstream.uri(path));
            let patience = Duration::from_millis(if n % 4 == 1 { 2 } else { 5_000 });
            tokio::spawn(async move {
                let _in_time_or_not = tokio::time::timeout(patience, fetch(&pool, &uri)).await;
            })
        });
        // Whether the observer's panic reaches a caller is not the point.
        drop(
            tokio::time::timeout(Duration::from_secs(8), join_all(calls))
                .await
                .unwrap(),
        );
        // Another origin needs the places too.
        let other = format!("http://other-{round}.test/").parse().unwrap();
        let _maybe = tokio::spawn({
            let pool = pool.clone();
            async move { fetch(&pool, &other).await.is_ok() }
        })
        .await;
    }
    let origin = upstream.uri("/").to_string().parse().unwrap();
    let at_rest = || {
        let stats = pool.stats(&origin).unwrap();
        stats.in_flight + stats.queued + stats.connecting == 0
    };
    let rest = async {
        while !at_rest() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let rest = tokio::time::timeout(Duration::from_secs(5), rest).await;
    assert!(rest.is_ok(), "{kind}: {:#?}", pool.stats(&origin));
    assert_at_rest(&pool.stats(&origin).unwrap());
    assert!(connector.stats().peak_live <= 2, "{kind}");
    assert_eq!(
        fetch(&pool, &upstream.uri("/")).await.unwrap(),
        "ok",
        "{kind}"
    );
}
