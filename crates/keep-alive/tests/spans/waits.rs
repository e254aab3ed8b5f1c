//! A span tells the wait of its attempt; timings and errors tell that of the request from its call on.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Uri};
use http_body_util::Empty;
use tollgate_keep_alive::{KeepAlive, KeepAliveErrorKind, KeepAliveLayer};
use tollgate_testing::io::Plan;
use tollgate_testing::{Connector, Reply, Upstream};
use tower::{Layer, Service, ServiceExt};

use crate::listener::{Fields, Spans};
use crate::support::{LONG, cap, fetch, get, read, request};

const SECOND: Duration = Duration::from_secs(1);

type Req = Request<Empty<Bytes>>;

/// What each attempt so far has told of itself: outcome and wait.
fn waits(spans: &Spans) -> Vec<(String, String)> {
    let word = |fields: &Fields, name: &str| fields.get(name).cloned().unwrap_or_default();
    let attempts = spans.attempts().into_iter();
    attempts
        .map(|told| {
            let outcome = word(&told.fields, "outcome").replace('"', "");
            (outcome, word(&told.fields, "queued"))
        })
        .collect()
}

fn outcomes<const N: usize>(expected: [(&str, &str); N]) -> Vec<(String, String)> {
    expected.map(|(a, b)| (a.to_owned(), b.to_owned())).into()
}

/// A pool of one connection whose third request is closed upon, and the dial after that ends so.
async fn closing_once(layer: KeepAliveLayer, second: Plan) -> (Upstream, KeepAlive, Uri) {
    let upstream = Upstream::start(|request| match request.arrival {
        2 => Reply::nothing().close(),
        _ => Reply::ok("ok"),
    })
    .await;
    let connector = Connector::memory(&upstream).script(move |dial| match dial.nth {
        0 => Plan::connect(),
        _ => second.clone(),
    });
    let (pool, uri) = (layer.layer(connector), upstream.uri("/"));
    fetch(&pool, &uri).await.unwrap();
    (upstream, pool, uri)
}

/// Waits a second for the connection, which closes under it.
async fn behind_a_holder(pool: &KeepAlive, uri: &Uri) -> crate::support::Answer {
    let holder = get(pool, uri).await.unwrap();
    let mut next = Box::pin(pool.clone().oneshot(request("GET", uri)));
    assert!(next.as_mut().now_or_never().is_none());
    tokio::time::sleep(SECOND).await;
    read(holder).await.unwrap();
    next.await
}

/// Each span has the wait of its own attempt alone.
#[test]
fn attempt_waits_add_up_in_the_timings() {
    let spans = Spans::default();
    let timings = spans.of_paused(async {
        let later = Plan::connect().after(SECOND * 2);
        let (_upstream, pool, uri) = closing_once(cap(1), later).await;
        let answer = behind_a_holder(&pool, &uri).await.unwrap();
        answer.body().timings()
    });
    assert_eq!((timings.attempts, timings.queued), (2, SECOND * 3));
    let told = outcomes([("failed", "1s"), ("answered", "2s")]);
    assert_eq!(waits(&spans)[2..], told);
}

#[test]
fn attempt_waits_add_up_in_errors_too() {
    let spans = Spans::default();
    let error = spans.of_paused(async {
        let fails = Plan::fail(ErrorKind::ConnectionRefused).after(SECOND * 2);
        let (_upstream, pool, uri) = closing_once(cap(1), fails).await;
        behind_a_holder(&pool, &uri).await.unwrap_err()
    });
    assert_eq!(error.kind(), KeepAliveErrorKind::Connect);
    let timings = error.timings();
    assert_eq!((timings.attempts, timings.queued), (1, SECOND * 3));
    let told = outcomes([("failed", "1s"), ("refused", "2s")]);
    assert_eq!(waits(&spans)[2..], told);
}

/// Whoever asks for readiness knows of that wait, so timings begin at the call; a span has no other
/// way to tell why the request was late.
#[test]
fn a_poll_ready_wait_is_only_in_spans() {
    let spans = Spans::default();
    let timings = spans.of_paused(async {
        let upstream = Upstream::start(|_| Reply::ok("ok")).await;
        let pool = cap(1).layer(Connector::memory(&upstream));
        let uri = upstream.uri("/");
        let holder = get(&pool, &uri).await.unwrap();
        let origin = uri.to_string().parse().unwrap();
        let mut service = pool.origin(&origin).unwrap();
        let mut ready = Box::pin(ServiceExt::<Req>::ready(&mut service));
        assert!(ready.as_mut().now_or_never().is_none());
        tokio::time::sleep(SECOND).await;
        read(holder).await.unwrap();
        ready.await.unwrap();
        let first = service.call(request("GET", &uri)).await.unwrap();
        let timings = first.body().timings();
        read(first).await.unwrap();
        ServiceExt::<Req>::ready(&mut service).await.unwrap();
        drop(service.call(request("GET", &uri)).await.unwrap());
        timings
    });
    assert_eq!(timings.queued, Duration::ZERO);
    let told = outcomes([("answered", "1s"), ("answered", "0ns")]);
    assert_eq!(waits(&spans)[1..], told, "told once");
}

#[test]
fn a_refused_request_has_a_span_too() {
    let spans = Spans::default();
    spans.of_paused(async {
        let upstream = Upstream::start(|_| Reply::ok("ok")).await;
        let layer = cap(1).acquire_timeout(SECOND);
        let pool = layer.layer(Connector::memory(&upstream));
        let uri = upstream.uri("/");
        let holder = get(&pool, &uri).await.unwrap();
        let origin = uri.to_string().parse().unwrap();
        let mut service = pool.origin(&origin).unwrap();
        let ready = tokio::time::timeout(LONG, ServiceExt::<Req>::ready(&mut service));
        ready.await.unwrap().unwrap();
        service.call(request("GET", &uri)).await.unwrap_err();
        drop(holder);
        let nowhere = request("POST", &Uri::from_static("/relative"));
        pool.oneshot(nowhere).await.unwrap_err();
    });
    let told = outcomes([("refused", "1s"), ("refused", "0ns")]);
    assert_eq!(waits(&spans)[1..], told);
    let [_, late, nowhere] = &spans.attempts()[..] else {
        panic!("{:?}", spans.attempts());
    };
    assert!(late.fields["origin"].starts_with("http://"), "{late:?}");
    assert!(!nowhere.fields.contains_key("origin"), "{nowhere:?}");
    assert_eq!(nowhere.fields["method"], "POST");
    assert!(nowhere.fields["error"].contains("not a request"));
}
