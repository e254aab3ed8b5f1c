//! What a caller is told when there is no answer.

use std::time::Duration;

use http::Uri;
use tollgate::{Client, ClientBuilder};
use tollgate_testing::{DEADLINE, Gate, Hole, Refused, Reply, Upstream};

use super::support::{Caller, Site};

const SOON: Duration = Duration::from_millis(20);

fn at(addr: impl std::fmt::Display) -> Uri {
    format!("http://{addr}/").parse().unwrap()
}

/// Answered with this status and kind, and with nothing of what lies behind.
async fn told(mut caller: Caller, status: u16, kind: &str) {
    let head = caller.head().await;
    assert_eq!(head.status(), status, "{kind}");
    assert_eq!(caller.bytes(kind.len()).await, kind);
    assert_eq!(head.all("content-length"), [kind.len().to_string()]);
    let wait: &[&str] = if kind == "queue_full" { &["1"] } else { &[] };
    assert_eq!(head.all("retry-after"), wait);
}

/// Told to the second of two callers, of whom the first has the only connection.
async fn second_told(options: ClientBuilder, status: u16, kind: &str) {
    let gate = Gate::new();
    let reply = Reply::ok("ok").when(&gate);
    let upstream = Upstream::start(move |_| reply.clone()).await;
    let options = options.max_connections_per_origin(1);
    let site = Site::with(upstream.uri("/"), options, DEADLINE).await;
    let mut first = site.get("").await;
    gate.reached(1).await;
    told(site.get("").await, status, kind).await;
    gate.open();
    assert_eq!(first.head().await.status(), 200);
}

#[tokio::test]
async fn refused_connect_is_answered_with_503() {
    let refused = Refused::start([127, 0, 0, 1]);
    let site = Site::with(at(refused.addr()), Client::builder(), DEADLINE).await;
    told(site.get("").await, 503, "connect_refused").await;
}

#[tokio::test]
async fn full_queue_answers_503_with_retry_after() {
    second_told(Client::builder().max_waiting(0), 503, "queue_full").await;
}

#[tokio::test]
async fn a_clock_that_ran_out_is_504() {
    let options = || Client::builder().acquire_timeout(SOON);
    second_told(options(), 504, "queue_timeout").await;

    let hole = Hole::start([127, 0, 0, 1]).await;
    let options = Client::builder().connect_timeout(SOON);
    let site = Site::with(at(hole.addr()), options, DEADLINE).await;
    told(site.get("").await, 504, "connect_timeout").await;

    let upstream = Upstream::start(|_| Reply::never()).await;
    let options = Client::builder().response_timeout(SOON);
    let site = Site::with(upstream.uri("/"), options, DEADLINE).await;
    told(site.get("").await, 504, "response_timeout").await;
}

#[tokio::test]
async fn an_answer_that_is_none_is_502() {
    for (reply, kind) in [
        (Reply::raw("no such protocol\r\n\r\n"), "exchange"),
        (
            Reply::raw("HTTP/1.1 200 OK\r\ncontent-le").close(),
            "closed_after_sent",
        ),
        (Reply::nothing().close(), "closed_after_sent"),
    ] {
        let upstream = Upstream::start(move |_| reply.clone()).await;
        let site = Site::before(&upstream).await;
        told(site.get("").await, 502, kind).await;
    }
}
