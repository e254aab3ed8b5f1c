//! A deadline that goes from service to service.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::HeaderName;
use support::client_with;
use tokio::time::{Instant, sleep, timeout};
use tollgate::{Body, InheritDeadlineLayer, PassDeadlineLayer, Request, Response};
use tollgate_testing::InMemory;
use tower::{Layer, Service, ServiceExt};

const LIMIT: Duration = Duration::from_millis(300);
const HEADER: HeaderName = HeaderName::from_static("x-timeout-ms");
const GRPC: HeaderName = HeaderName::from_static("grpc-timeout");
const URI: &str = "http://next.internal/";

/// The time at which each service began and last worked, and the time that it was given.
type Log = Arc<Mutex<Vec<(usize, Option<String>, Instant, Instant)>>>;

/// Notes the time of its end, also where its future is dropped.
struct Works(Log, usize, Option<String>, Instant);

impl Drop for Works {
    fn drop(&mut self) {
        let Self(log, depth, given, began) = self;
        let entry = (*depth, given.take(), *began, Instant::now());
        log.lock().unwrap().push(entry);
    }
}

/// A service that works for 50 ms and calls the next; the last one works for ever.
fn service(depth: usize, header: &HeaderName, log: &Log) -> InMemory {
    let next = (depth < 3).then(|| {
        let next = service(depth + 1, header, log);
        let client = client_with(|b| b.connector(next));
        PassDeadlineLayer::new().header(HEADER).layer(client)
    });
    let (header, log) = (header.clone(), log.clone());
    let handler = tower::service_fn(move |request: Request<hyper::body::Incoming>| {
        let given = request.headers().get(&header);
        let given = given.map(|value| value.to_str().unwrap().to_owned());
        let works = Works(log.clone(), depth, given, Instant::now());
        let (next, kind) = (next.clone(), request.headers().get("content-type").cloned());
        async move {
            let _works = works;
            sleep(Duration::from_millis(50)).await;
            let Some(next) = next else {
                return std::future::pending().await;
            };
            let mut onward = Request::get(URI).body(Body::default()).unwrap();
            if let Some(kind) = kind {
                onward.headers_mut().insert("content-type", kind);
            }
            let status = match next.oneshot(onward).await {
                Ok(response) => response.status(),
                Err(error) => {
                    assert!(error.is_timeout(), "{error}");
                    http::StatusCode::GATEWAY_TIMEOUT
                }
            };
            let response = Response::builder().status(status);
            Ok::<_, Infallible>(response.body(String::new()).unwrap())
        }
    });
    InMemory::new(InheritDeadlineLayer::new().header(HEADER).layer(handler))
}

/// Calls three services in a chain, with 300 ms in this header.
async fn chain(header: HeaderName, value: &str, kind: &str) -> Vec<Option<String>> {
    let log = Log::default();
    let mut client = client_with(|b| b.connector(service(1, &header, &log)));
    let request = Request::get(URI).header(&header, value);
    let request = request.header("content-type", kind).body(Body::default());
    let started = Instant::now();
    let call = timeout(LIMIT * 3, client.call(request.unwrap()));
    // With the feature `tonic` the first client keeps a `grpc-timeout` too, and may be first.
    match call.await.expect("it ends") {
        Ok(response) => assert_eq!(response.status(), 504),
        Err(error) => assert!(error.is_timeout(), "{error}"),
    }
    assert!(started.elapsed() <= LIMIT + Duration::from_millis(20));
    sleep(LIMIT).await;
    let mut log = std::mem::take(&mut *log.lock().unwrap());
    log.sort_by_key(|(depth, ..)| *depth);
    assert_eq!(log.len(), 3);
    for (depth, _, began, ended) in &log {
        let worked = ended.duration_since(started);
        assert!(
            *began >= started && worked <= LIMIT + Duration::from_millis(20),
            "{depth}: {worked:?}"
        );
    }
    log.into_iter().map(|(_, given, ..)| given).collect()
}

#[tokio::test(start_paused = true)]
async fn inherited_deadline_bounds_every_service_of_chain() {
    let given = chain(HEADER, "300", "text/plain").await;
    let left: Vec<u64> = given
        .iter()
        .map(|ms| ms.as_ref().unwrap().parse().unwrap())
        .collect();
    assert!(
        left[0] == 300 && left[1] <= 250 && left[2] <= 200,
        "{left:?}"
    );
    assert!(left[2] >= 180, "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_grpc_timeout_goes_through_a_chain() {
    let given = chain(GRPC, "300m", "application/grpc").await;
    assert_eq!(given[0].as_deref(), Some("300m"));
    assert!(given[2].as_ref().unwrap().ends_with('u'), "{given:?}");
}

#[tokio::test(start_paused = true)]
async fn request_without_deadline_passes_unchanged() {
    let echo = tower::service_fn(async |request: Request<Body>| {
        Ok::<_, Infallible>(Response::new(request.headers().len()))
    });
    let pass = PassDeadlineLayer::new().header(HEADER).layer(echo);
    let response = pass.oneshot(Request::new(Body::default())).await.unwrap();
    assert_eq!(response.into_body(), 0);
}
