//! Errors of waiting for a connection.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::task::JoinSet;
use tollgate::{Deadline, ErrorKind, find};
use tollgate_testing::{Connector, Gate, Reply, Upstream};

use super::{SECOND, fails};
use crate::support::{client_with, text};

const QUEUED: &str = "http://queued.internal";

/// One that holds each answer until the gate opens.
async fn held() -> (Upstream, Gate) {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Reply::ok("ok").when(&held)).await;
    (upstream, gate)
}

#[tokio::test]
async fn full_queue_error_names_origin_and_max_waiting() {
    let (upstream, gate) = held().await;
    let client = client_with(|b| b.max_connections_per_origin(1).max_waiting(1));
    let mut calls = JoinSet::new();
    calls.spawn(client.get(upstream.uri("/")));
    gate.reached(1).await;
    calls.spawn(client.get(upstream.uri("/")));
    let origin = format!("http://{}", upstream.addr());
    while client.stats(&origin).unwrap().queued == 0 {
        tokio::task::yield_now().await;
    }

    let error = fails(&client, upstream.uri("/")).await;
    assert_eq!(error.kind(), ErrorKind::QueueFull);
    assert!(error.is_retryable() && error.nothing_sent() && !error.is_connect());
    assert_eq!(error.origin().unwrap().to_string(), origin);
    let text_of = error.to_string();
    assert!(
        text_of.contains(&origin) && text_of.contains("max_waiting"),
        "{text_of}"
    );
    assert_eq!(client.stats(&origin).unwrap().refused, 1);
    gate.open();
    while let Some(done) = calls.join_next().await {
        text(done.unwrap().unwrap()).await;
    }
}

#[tokio::test]
async fn a_queue_timeout_says_how_long_it_waited() {
    let (upstream, gate) = held().await;
    let limit = Duration::from_millis(40);
    let client = client_with(|b| b.max_connections_per_origin(1).acquire_timeout(limit));
    let first = tokio::spawn(client.get(upstream.uri("/")));
    gate.reached(1).await;

    let error = fails(&client, upstream.uri("/")).await;
    assert_eq!(error.kind(), ErrorKind::QueueTimeout);
    assert!(error.is_retryable() && error.is_timeout());
    assert!(error.timings().queued >= limit);
    assert_eq!(
        find::<io::Error>(&error).unwrap().kind(),
        io::ErrorKind::TimedOut
    );
    assert_eq!(error.as_keep_alive().unwrap().limit(), 1);
    gate.open();
    text(first.await.unwrap().unwrap()).await;
}

#[tokio::test]
async fn a_requests_own_deadline_bounds_its_wait() {
    let (upstream, gate) = held().await;
    let client = client_with(|b| b.max_connections_per_origin(1));
    let first = tokio::spawn(client.get(upstream.uri("/")));
    gate.reached(1).await;
    let mut request = Request::new(Full::<Bytes>::default());
    *request.uri_mut() = upstream.uri("/");
    request
        .extensions_mut()
        .insert(Deadline::after(Duration::from_millis(30)));
    let error = client.request(request).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::QueueTimeout);
    gate.open();
    text(first.await.unwrap().unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn response_timeout_while_queued_reports_the_wait() {
    let endless = |_: &_| Reply::head(200).header("content-length", "10").hold();
    let upstream = Upstream::start(endless).await;
    let limit = Duration::from_millis(200);
    let client = client_with(|b| {
        b.connector(Connector::memory(&upstream))
            .max_connections_per_origin(1)
            .response_timeout(limit)
    });
    let _holds_the_connection = client.get(QUEUED).await.unwrap();
    let mut pool = client.origin(QUEUED).unwrap();
    let call = tower::Service::call(&mut pool, Request::new(Full::<Bytes>::default()));
    for waiting in [fails(&client, QUEUED).await, call.await.err().unwrap()] {
        assert_eq!(waiting.kind(), ErrorKind::ResponseTimeout);
        assert!(waiting.nothing_sent() && waiting.is_retryable());
        let timings = waiting.timings();
        assert!(timings.queued >= limit, "{timings:?}");
        assert_eq!((timings.attempts, timings.connection), (0, 0));
        let text = waiting.to_string();
        assert!(
            text.contains("not sent") && !text.contains("acted"),
            "{text}"
        );
    }
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_response_timeout_reports_the_wait_and_reuse() {
    let (upstream, gate) = held().await;
    let client = client_with(|b| {
        b.connector(Connector::memory(&upstream))
            .max_connections_per_origin(1)
            .response_timeout(SECOND)
    });
    let first = tokio::spawn(client.get(QUEUED));
    gate.reached(1).await;
    let second = tokio::spawn(client.get(QUEUED));
    tokio::time::sleep(SECOND / 4).await;
    gate.admit(1);
    text(first.await.unwrap().unwrap()).await;
    let late = second.await.unwrap().err().unwrap();
    let timings = late.timings();
    assert!(timings.reused && !late.nothing_sent());
    assert_eq!((timings.queued, timings.attempts), (SECOND / 4, 1));
}
