//! What an error says: what struck, and what to change.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use support::{Stack, cap, fetch, get, request, send};
use tokio::time::Instant;
use tollgate_keep_alive::{Deadline, Http1Options, KeepAliveErrorKind};
use tollgate_testing::io::Plan;
use tollgate_testing::{Connector, Reply, Upstream};
use tower::{Layer, Service, ServiceExt};

type Req = Request<Empty<Bytes>>;

const SECOND: Duration = Duration::from_secs(1);

async fn ok() -> Upstream {
    Upstream::start(|_| Reply::ok("ok")).await
}

#[track_caller]
fn says(text: &(impl ToString + ?Sized), parts: &[&str], not: &[&str]) {
    let text = text.to_string();
    for part in parts {
        assert!(text.contains(part), "no {part:?} in: {text}");
    }
    for part in not {
        assert!(!text.contains(part), "{part:?} in: {text}");
    }
}

/// It once advised to raise limits that had not been reached.
#[tokio::test(start_paused = true)]
async fn deadline_errors_name_the_requests_own_deadline() {
    let upstream = ok().await;
    let own = ["own deadline", "give the request more time"];
    let limits = ["acquire_timeout", "raise the connection cap"];
    // In the queue behind another.
    let stack = Stack::in_memory(&upstream, &cap(1));
    let uri = upstream.uri("/");
    let holder = get(&stack.pool, &uri).await.unwrap();
    let with = |deadline| {
        let mut request = request("GET", &uri);
        request.extensions_mut().insert(deadline);
        request
    };
    let queued = with(Deadline::after(SECOND));
    let queued = send(&stack.pool, queued).await.unwrap_err();
    says(&queued, &own, &limits);
    says(&queued, &["within 1s", "0 requests ahead"], &[]);
    drop(holder);
    // In a dial of its own.
    let connector = Connector::memory(&upstream).script(|_| Plan::hang());
    let pool = cap(1).layer(connector);
    let dialling = send(&pool, with(Deadline::after(SECOND))).await;
    says(&dialling.unwrap_err(), &own, &limits);
    // Before it came.
    let late = send(&pool, with(Deadline::at(Instant::now()))).await;
    says(&late.unwrap_err(), &own, &limits);
}

#[tokio::test(start_paused = true)]
async fn an_acquire_timeout_names_the_limits_to_raise() {
    let upstream = ok().await;
    let stack = Stack::in_memory(&upstream, &cap(1).acquire_timeout(SECOND));
    let uri = upstream.uri("/");
    let _holder = get(&stack.pool, &uri).await.unwrap();
    let mut patient = request("GET", &uri);
    let deadline = Deadline::after(SECOND * 2);
    patient.extensions_mut().insert(deadline);
    let error = send(&stack.pool, patient).await.unwrap_err();
    let limits = ["raise the connection cap or acquire_timeout"];
    says(&error, &limits, &["own deadline"]);
}

#[tokio::test]
async fn a_pool_that_ended_says_what_to_do() {
    let upstream = ok().await;
    let stack = Stack::new(&upstream, &cap(1));
    fetch(&stack.pool, &upstream.uri("/")).await.unwrap();
    stack.pool.close();
    let error = get(&stack.pool, &upstream.uri("/")).await.unwrap_err();
    assert_eq!(error.kind(), KeepAliveErrorKind::Closed);
    says(&error, &["drain or close", "another client"], &[]);
}

/// A retry of a call whose lease was reserved once knew of no deadline, and dialled past it.
#[tokio::test(start_paused = true)]
async fn a_retry_after_a_reservation_keeps_the_deadline() {
    let upstream = Upstream::start(|request| match request.arrival {
        1 => Reply::nothing().after(SECOND * 2).close(),
        _ => Reply::ok("ok"),
    })
    .await;
    let stack = Stack::in_memory(&upstream, &cap(1));
    let uri = upstream.uri("/");
    fetch(&stack.pool, &uri).await.unwrap();
    let mut service = stack.pool.origin(&stack.origin).unwrap();
    let mut call = request("GET", &uri);
    call.extensions_mut().insert(Deadline::after(SECOND));
    let service = ServiceExt::<Req>::ready(&mut service).await.unwrap();
    let error = service.call(call).await.unwrap_err();
    assert_eq!(error.kind(), KeepAliveErrorKind::QueueTimeout);
    assert!(!error.nothing_sent(), "the first attempt was");
    says(&error, &["own deadline", "may have acted on it"], &[]);
    assert_eq!(stack.connector.stats().calls, 1);
}

/// The limit that was met, and the option that raises it.
#[tokio::test]
async fn exceeding_max_headers_names_limit_and_option() {
    let fields = "x-one: value\r\n".repeat(150);
    let head = format!("HTTP/1.1 200 OK\r\n{fields}content-length: 2\r\n\r\nok");
    let upstream = Upstream::start(move |_| Reply::raw(head.clone())).await;
    let limited = cap(1).http1(Http1Options::new().max_headers(120));
    let stack = Stack::new(&upstream, &limited);
    let error = get(&stack.pool, &upstream.uri("/")).await.unwrap_err();
    assert_eq!(error.kind(), KeepAliveErrorKind::Exchange);
    let source = std::error::Error::source(&error).unwrap();
    let parts = [
        "more than 120 fields",
        "400 KiB",
        "Http1Options::max_headers",
    ];
    says(source, &parts, &[]);
}
