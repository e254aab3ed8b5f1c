//! When a lease ends, and when a connection may be used again.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use support::{Stack, cap, fetch, get, post, read, request, send};
use tollgate_core::CloseReason;
use tollgate_testing::{Gate, Reply, Upstream};

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let stack = Stack::new(&upstream, &cap(4));
    for _ in 0..20 {
        assert_eq!(fetch(&stack.pool, &upstream.uri("/")).await.unwrap(), "ok");
    }
    assert_eq!(upstream.accepted(), 1);
    let stats = stack.stats();
    assert_eq!((stats.opened, stats.reused, stats.idle), (1, 19, 1));
}

#[tokio::test]
async fn a_body_holds_its_lease_to_the_end() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |request| match &*request.target {
        "/stream" => Reply::chunked()
            .chunk("one")
            .wait(&held)
            .chunk("two")
            .end_chunks(),
        _ => Reply::ok("other"),
    })
    .await;
    let stack = Stack::new(&upstream, &cap(2));
    let mut streaming = get(&stack.pool, &upstream.uri("/stream")).await.unwrap();
    let first = streaming.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "one");
    assert_eq!(stack.stats().active, 1);

    assert_eq!(
        fetch(&stack.pool, &upstream.uri("/")).await.unwrap(),
        "other"
    );
    let log = upstream.requests();
    assert_ne!(
        log[0].connection, log[1].connection,
        "not on the connection of an open body"
    );
    gate.open();
    assert_eq!(read(streaming).await.unwrap(), "two");
    assert_eq!(stack.stats().active, 0);
}

#[tokio::test]
async fn empty_responses_free_their_lease_at_the_head() {
    let upstream = Upstream::start(|request| match &*request.target {
        "/204" => Reply::head(204),
        "/304" => Reply::head(304),
        _ => Reply::ok(if request.method == "HEAD" {
            "unsent"
        } else {
            ""
        }),
    })
    .await;
    let stack = Stack::new(&upstream, &cap(1));
    let mut kept = Vec::new();
    for (method, path) in [
        ("GET", "/204"),
        ("GET", "/304"),
        ("HEAD", "/"),
        ("GET", "/zero"),
    ] {
        kept.push(
            send(&stack.pool, request(method, &upstream.uri(path)))
                .await
                .unwrap(),
        );
        assert_eq!(stack.stats().active, 0, "{method} {path} ends at its head");
    }
    assert_eq!(upstream.accepted(), 1);
}

#[tokio::test]
async fn a_dropped_body_already_received_keeps_the_connection() {
    let upstream = Upstream::start(|_| Reply::ok("short")).await;
    let stack = Stack::new(&upstream, &cap(1));
    let response = get(&stack.pool, &upstream.uri("/")).await.unwrap();
    drop(response);
    let stats = stack.settled(|stats| stats.in_flight == 0).await;
    assert_eq!((stats.bodies_drained, stats.idle), (1, 1));
    fetch(&stack.pool, &upstream.uri("/")).await.unwrap();
    assert_eq!(upstream.accepted(), 1);
}

#[tokio::test]
async fn a_dropped_unfinished_body_costs_the_connection() {
    let upstream = Upstream::start(|request| match &*request.target {
        "/slow" => Reply::head(200)
            .header("content-length", "10")
            .body("half")
            .hold(),
        _ => Reply::ok("ok"),
    })
    .await;
    let stack = Stack::new(&upstream, &cap(1));
    let response = get(&stack.pool, &upstream.uri("/slow")).await.unwrap();
    drop(response);
    assert_eq!(fetch(&stack.pool, &upstream.uri("/")).await.unwrap(), "ok");
    assert_eq!(upstream.accepted(), 2);
    assert_eq!(stack.connector.stats().peak_live, 1);
    assert_eq!(stack.stats().closed_for(CloseReason::BodyDropped), 1);
}

/// A request body that goes on when the gate opens.
fn upload(gate: &Gate) -> impl http_body::Body<Data = Bytes, Error = std::io::Error> + use<> {
    let gate = gate.clone();
    let first = stream::iter([Ok(Frame::data(Bytes::from("first")))]);
    let last = stream::once(async move {
        gate.wait().await;
        Ok(Frame::data(Bytes::from("last")))
    });
    StreamBody::new(first.chain(last).boxed())
}

#[tokio::test(start_paused = true)]
async fn a_lease_lasts_until_the_upload_ends_too() {
    let gate = Gate::new();
    let upstream = Upstream::start(|request| match &*request.method {
        "POST" => Reply::ok("early").before_body(),
        _ => Reply::ok("ok"),
    })
    .await;
    let stack = Stack::in_memory(&upstream, &cap(2));
    let request = Request::post(upstream.uri("/"))
        .body(upload(&gate))
        .unwrap();
    let response = send(&stack.pool, request).await.unwrap();
    assert_eq!(read(response).await.unwrap(), "early");
    assert_eq!(stack.stats().in_flight, 1, "the upload goes on");

    fetch(&stack.pool, &upstream.uri("/")).await.unwrap();
    assert_eq!(upstream.requests()[1].connection, 1);
    gate.open();
    stack.settled(|stats| stats.in_flight == 0).await;
    // The one that uploaded is whole again.
    assert_eq!(stack.stats().open, 2);
    assert_eq!(upstream.accepted(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_never_ends_is_given_up() {
    let upstream = Upstream::start(|_| Reply::ok("early").before_body()).await;
    let connector = tollgate_testing::Connector::memory(&upstream);
    let pool = tower::Layer::layer(&cap(1), connector);
    let gate = Gate::new();
    let request = Request::post(upstream.uri("/"))
        .body(upload(&gate))
        .unwrap();
    let response = tower::ServiceExt::oneshot(pool.clone(), request)
        .await
        .unwrap();
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "early"
    );
    let origin = upstream.uri("/").to_string().parse().unwrap();
    assert_eq!(pool.stats(&origin).unwrap().in_flight, 1);
    tokio::time::sleep(Duration::from_millis(51)).await;
    let stats = pool.stats(&origin).unwrap();
    assert_eq!(
        (stats.in_flight, stats.closed_for(CloseReason::Stuck)),
        (0, 1)
    );
}

#[tokio::test]
async fn interim_responses_complete_nothing() {
    let upstream = Upstream::start(|_| {
        Reply::raw("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
            .write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    })
    .await;
    let stack = Stack::new(&upstream, &cap(1));
    for _ in 0..3 {
        assert_eq!(fetch(&stack.pool, &upstream.uri("/")).await.unwrap(), "ok");
    }
    assert_eq!(upstream.accepted(), 1);
}

#[tokio::test]
async fn timings_tell_where_the_time_went() {
    let upstream = Upstream::start(|_| Reply::ok("x").after(Duration::from_millis(20))).await;
    let stack = Stack::new(&upstream, &cap(1).timings_in_extensions(true));
    let first = get(&stack.pool, &upstream.uri("/")).await.unwrap();
    let timings = first.body().timings();
    assert!(!timings.reused);
    assert_eq!((timings.connection, timings.attempts), (1, 1));
    assert!(timings.first_byte.unwrap() >= Duration::from_millis(20));
    assert_eq!(first.extensions().get(), Some(&timings));
    read(first).await.unwrap();
    let second = post(&stack.pool, &upstream.uri("/"), "body").await.unwrap();
    assert!(second.body().timings().reused);
    assert_eq!(second.body().timings().queued, Duration::ZERO);
}
