//! The end of each call, as an observer sees it, and OpenTelemetry's metric of it.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, StatusCode};
use support::{client_with, text};
use tollgate::{Client, Event, Observer};
use tollgate_testing::{Connector, Reply, Upstream};

const URI: &str = "http://called.internal:8080/secret/path?token=1";

/// Method, status, error and duration of each call, in the order of their ends.
type Seen = (Method, Option<StatusCode>, Option<&'static str>, Duration);

#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<Seen>>>);

impl Observer for Calls {
    fn on_event(&self, event: &Event<'_>) {
        if let Event::CallEnded {
            origin,
            method,
            answer,
            error,
            elapsed,
        } = event
        {
            assert_eq!(origin.to_string(), "http://called.internal:8080");
            let status = answer.map(|(status, _)| status);
            self.0
                .lock()
                .unwrap()
                .push(((*method).clone(), status, *error, *elapsed));
        }
    }
}

async fn over(reply: Reply, calls: &Calls) -> (Client, Upstream) {
    let upstream = Upstream::start(move |_| reply.clone()).await;
    let connector = Connector::memory(&upstream);
    let observer = Arc::new(calls.clone());
    let client = client_with(|b| {
        let limit = Duration::from_secs(2);
        b.connector(connector)
            .observer(observer)
            .response_timeout(limit)
    });
    (client, upstream)
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_with_its_head_once() {
    let calls = Calls::default();
    let (client, _upstream) = over(Reply::ok("paid"), &calls).await;
    let response = client.get(URI).await.unwrap();
    assert_eq!(calls.0.lock().unwrap().len(), 1, "the body is not read yet");
    text(response).await;
    let origin = client.origin(URI).unwrap();
    let request = http::Request::post("/")
        .body(tollgate::Body::from("{}"))
        .unwrap();
    text(tower::ServiceExt::oneshot(origin, request).await.unwrap()).await;
    let seen = calls.0.lock().unwrap().clone();
    let seen: Vec<_> = seen
        .into_iter()
        .map(|(method, status, error, _)| (method, status, error))
        .collect();
    let ok = Some(StatusCode::OK);
    assert_eq!(seen, [(Method::GET, ok, None), (Method::POST, ok, None)]);
}

#[tokio::test(start_paused = true)]
async fn timed_out_call_is_reported_with_its_kind() {
    let calls = Calls::default();
    let (client, _upstream) = over(Reply::never(), &calls).await;
    client.get(URI).await.unwrap_err();
    let limit = Duration::from_secs(2);
    let seen = calls.0.lock().unwrap().clone();
    assert_eq!(seen, [(Method::GET, None, Some("response_timeout"), limit)]);
}

#[tokio::test(start_paused = true)]
async fn cancelled_call_is_reported_once() {
    let calls = Calls::default();
    let (client, _upstream) = over(Reply::never(), &calls).await;
    let patience = Duration::from_millis(300);
    assert!(
        tokio::time::timeout(patience, client.get(URI))
            .await
            .is_err()
    );
    let seen = calls.0.lock().unwrap().clone();
    assert_eq!(seen, [(Method::GET, None, Some("cancelled"), patience)]);
}

#[tokio::test(start_paused = true)]
async fn a_request_to_nowhere_is_no_call() {
    let calls = Calls::default();
    let (client, _upstream) = over(Reply::never(), &calls).await;
    client.get("/only/a/path").await.unwrap_err();
    assert!(calls.0.lock().unwrap().is_empty());
}
