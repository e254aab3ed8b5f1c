//! Errors of a request that was handed to a connection, and of its response body.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use tokio::task::JoinSet;
use tollgate::{ErrorKind, RetryPolicy, find};
use tollgate_testing::io::Plan;
use tollgate_testing::{Connector, Listener, Reply, Upstream};

use super::{SECOND, fails};
use crate::support::words::says_all;
use crate::support::{client_with, over_dead, text};

#[tokio::test]
async fn close_after_a_sent_post_is_not_retryable() {
    let upstream = Upstream::start(|_| Reply::nothing().close()).await;
    let client = client_with(|b| b);
    let mut request = Request::post("/")
        .body(Full::new(Bytes::from("pay")))
        .unwrap();
    *request.uri_mut() = upstream.uri("/pay");
    let error = client.request(request).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::ClosedAfterSent);
    assert!(!error.is_retryable() && !error.nothing_sent());
    assert!(error.to_string().contains("may have acted"), "{error}");
    assert_eq!(upstream.requests().len(), 1);
}

/// It was retryable once, whatever its method: the second attempt sends nothing.
#[tokio::test]
async fn lost_request_with_failed_retry_is_not_retryable() {
    let upstream = Upstream::start(|request| match request.nth {
        0 => Reply::ok("ok"),
        _ => Reply::nothing().close(),
    })
    .await;
    let connector = Connector::tcp(upstream.addr()).script(|dial| match dial.nth {
        0 => Plan::connect(),
        _ => Plan::fail(io::ErrorKind::ConnectionRefused),
    });
    let client = client_with(|b| b.connector(connector));
    text(client.get(upstream.uri("/")).await.unwrap()).await;
    let error = fails(&client, upstream.uri("/")).await;
    assert_eq!(error.kind(), ErrorKind::ConnectRefused);
    assert!(!error.is_retryable() && !error.nothing_sent());
    assert!(error.to_string().contains("may have acted"), "{error}");
    let next = fails(&client, upstream.uri("/")).await;
    assert!(next.is_retryable() && next.is_connect());
}

#[tokio::test]
async fn closed_before_sent_is_retried_four_times() {
    let closes = Listener::start(|stream| async move { drop(stream) });
    let client = client_with(|b| over_dead(b, closes.addr()));
    // A peer that accepts and closes was dialled for ever once, 3,500 times a second.
    let call = fails(&client, closes.uri("/"));
    let error = tokio::time::timeout(SECOND * 8, call).await.unwrap();
    assert_eq!(error.kind(), ErrorKind::ClosedBeforeSent);
    assert!(error.nothing_sent() && error.is_retryable());
    assert_eq!(error.timings().attempts, 4);
    assert_eq!(closes.accepted(), 4);
    let text = error.to_string();
    assert!(
        text.contains("4 tried") && text.contains("not sent"),
        "{text}"
    );
}

#[tokio::test]
async fn a_server_closing_at_once_is_dialled_boundedly() {
    const CALLERS: usize = 200;
    let upstream = Upstream::builder()
        .backlog(1024)
        .on_accept(|_| Reply::nothing().close())
        .start()
        .await;
    let client = client_with(|b| b.max_connections_per_origin(32));
    let mut calls = JoinSet::new();
    for _ in 0..CALLERS {
        calls.spawn(client.get(upstream.uri("/")));
    }
    let all = async {
        while let Some(done) = calls.join_next().await {
            let error = done.unwrap().unwrap_err();
            let closed = [ErrorKind::ClosedBeforeSent, ErrorKind::ClosedAfterSent];
            assert!(closed.contains(&error.kind()), "{error:?}");
        }
    };
    tokio::time::timeout(SECOND * 8, all).await.unwrap();
    let dials = upstream.accepted();
    // Four each, and some that were on their way when the last one gave up.
    assert!(dials <= 5 * CALLERS, "{dials}");
}

#[tokio::test]
async fn non_http_answer_is_an_exchange_error() {
    let upstream = Upstream::start(|_| Reply::raw("SSH-2.0-OpenSSH_9.9\r\n\r\n").close()).await;
    let client = client_with(|b| b.retry(RetryPolicy::NEVER));
    let error = fails(&client, upstream.uri("/")).await;
    assert_eq!(error.kind(), ErrorKind::Exchange);
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn broken_body_error_names_its_remote_address() {
    let upstream = Upstream::start(|_| {
        Reply::head(200)
            .header("content-length", "10")
            .body("hello")
            .close()
    })
    .await;
    let client = client_with(|b| b);
    let response = client.get(upstream.uri("/")).await.unwrap();
    let error = response.into_body().collect().await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Body);
    says_all(&error);
    assert_eq!(error.timings().remote, Some(upstream.addr()));
    assert!(
        error.to_string().contains(&upstream.addr().to_string()),
        "{error}"
    );
    assert!(find::<hyper::Error>(&error).is_some());
}

#[tokio::test]
async fn a_silent_body_ends_at_body_idle_timeout() {
    let upstream = Upstream::start(|_| {
        Reply::head(200)
            .header("content-length", "10")
            .body("hello")
            .hold()
    })
    .await;
    let client = client_with(|b| b.body_idle_timeout(Duration::from_millis(50)));
    let response = client.get(upstream.uri("/")).await.unwrap();
    let mut body = response.into_body();
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "hello"
    );
    let error = body.frame().await.unwrap().err().unwrap();
    assert_eq!(error.kind(), ErrorKind::BodyTimeout);
    says_all(&error);
    assert!(error.is_timeout() && error.to_string().contains("body_idle_timeout"));
    assert!(body.frame().await.is_none());
    // The body still stands; its connection does not.
    upstream.settled(|stats| stats.live == 0).await;
}

#[tokio::test]
async fn response_timeout_ends_call_and_connection() {
    let upstream = Upstream::start(|_| Reply::never()).await;
    let client = client_with(|b| b.response_timeout(Duration::from_millis(50)));
    let error = fails(&client, upstream.uri("/")).await;
    assert_eq!(error.kind(), ErrorKind::ResponseTimeout);
    assert!(!error.is_retryable() && !error.nothing_sent());
    assert!(error.to_string().contains("may have acted"), "{error}");
    let timings = error.timings();
    assert_eq!(timings.remote, Some(upstream.addr()));
    assert_eq!((timings.connection, timings.attempts), (1, 1));
    assert!(timings.connect.is_some());
    upstream.settled(|stats| stats.live == 0).await;
}
