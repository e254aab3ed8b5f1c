//! Reuse of connections that are, or are about to be, closed; and what is sent again.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::time::Duration;

use futures_util::future::join_all;
use support::{Stack, cap, fetch, get, post, read, request, send};
use tollgate_core::CloseReason;
use tollgate_keep_alive::{KeepAliveErrorKind, RetryPolicy};
use tollgate_testing::{Gate, Reply, Upstream};

#[tokio::test]
async fn a_connection_closed_while_idle_is_replaced() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let stack = Stack::new(&upstream, &cap(1));
    for _ in 0..5 {
        assert_eq!(fetch(&stack.pool, &upstream.uri("/")).await.unwrap(), "ok");
        upstream.settled(|stats| stats.idle == 1).await;
        upstream.close_idle();
        stack.settled(|stats| stats.open == 0).await;
        let response = post(&stack.pool, &upstream.uri("/"), "x").await.unwrap();
        assert_eq!(response.body().timings().attempts, 1);
        read(response).await.unwrap();
        upstream.close_idle();
        stack.settled(|stats| stats.open == 0).await;
    }
    assert_eq!(stack.stats().closed_for(CloseReason::PeerEof), 10);
}

#[tokio::test]
async fn a_get_lost_on_reuse_is_retried_once() {
    let upstream = Upstream::start(|request| match (request.connection, request.nth) {
        (0, 1) => Reply::nothing().close(),
        _ => Reply::ok("ok"),
    })
    .await;
    let stack = Stack::new(&upstream, &cap(1));
    fetch(&stack.pool, &upstream.uri("/")).await.unwrap();
    let response = get(&stack.pool, &upstream.uri("/again")).await.unwrap();
    assert_eq!(response.body().timings().attempts, 2);
    assert!(!response.body().timings().reused);
    let paths: Vec<_> = upstream
        .requests()
        .iter()
        .map(|r| r.target.clone())
        .collect();
    assert_eq!(paths, ["/", "/again", "/again"]);
}

/// What closes one connection, a reload of the server's, closes all that it had: the loss of a second
/// one that was open then is no second mishap.
#[tokio::test]
async fn a_get_lost_twice_gets_a_third_attempt() {
    let (slow, held) = (Gate::new(), Gate::new());
    let (slow_reply, held_reply) = (slow.clone(), held.clone());
    let upstream = Upstream::start(move |request| match &*request.target {
        "/slow" => Reply::ok("ok").when(&slow_reply),
        // The last request of each old connection: it is read, and closed upon.
        "/lost" if request.connection == 0 => Reply::nothing().wait(&held_reply).close(),
        "/lost" if request.connection == 1 => Reply::nothing().close(),
        _ => Reply::ok("ok"),
    })
    .await;
    let stack = Stack::new(&upstream, &cap(2));
    let [first, busy, lost] = ["/", "/slow", "/lost"].map(|path| upstream.uri(path));
    fetch(&stack.pool, &first).await.unwrap();
    let calls = async { tokio::join!(fetch(&stack.pool, &first), fetch(&stack.pool, &busy)) };
    // The first connection serves one of them, the second is dialled for the other.
    let opened = async {
        slow.reached(1).await;
        stack
            .settled(|stats| stats.open == 2 && stats.idle == 1)
            .await;
    };
    let lost_twice = async {
        opened.await;
        let get = get(&stack.pool, &lost);
        let release = async {
            held.reached(1).await;
            // It idles since after the grant of the one that is lost with the other.
            slow.open();
            stack.settled(|stats| stats.idle == 1).await;
            held.open();
        };
        tokio::join!(get, release).0
    };
    let (_, response) = tokio::join!(calls, lost_twice);
    let response = response.unwrap();
    let timings = response.body().timings();
    assert_eq!((timings.attempts, timings.reused), (3, false));
    read(response).await.unwrap();
}

#[tokio::test]
async fn a_close_on_a_fresh_connection_is_final() {
    let upstream = Upstream::start(|request| match (request.connection, request.nth) {
        (0, 0) => Reply::ok("ok"),
        _ => Reply::nothing().close(),
    })
    .await;
    let stack = Stack::new(&upstream, &cap(1));
    fetch(&stack.pool, &upstream.uri("/")).await.unwrap();
    let error = get(&stack.pool, &upstream.uri("/")).await.unwrap_err();
    assert_eq!(error.kind(), KeepAliveErrorKind::ClosedAfterSent);
    assert_eq!(error.timings().attempts, 2);
    assert_eq!(upstream.requests().len(), 3);
    let error = get(&stack.pool, &upstream.uri("/")).await.unwrap_err();
    assert_eq!(
        error.timings().attempts,
        1,
        "never after a failure on a fresh connection"
    );
}

#[tokio::test]
async fn a_sent_post_is_never_retried() {
    let upstream = Upstream::start(|request| match (request.connection, request.nth) {
        (0, 1) => Reply::nothing().close(),
        _ => Reply::ok("ok"),
    })
    .await;
    let stack = Stack::new(&upstream, &cap(1));
    fetch(&stack.pool, &upstream.uri("/")).await.unwrap();
    let error = post(&stack.pool, &upstream.uri("/"), "pay")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), KeepAliveErrorKind::ClosedAfterSent);
    assert!(!error.nothing_sent());
    assert!(
        error.to_string().contains("may have acted on it"),
        "{error}"
    );
    assert_eq!(
        upstream
            .requests()
            .iter()
            .filter(|r| r.method == "POST")
            .count(),
        1
    );
}

#[tokio::test]
async fn one_byte_of_an_answer_forbids_a_retry() {
    let upstream = Upstream::start(|request| match request.nth {
        0 => Reply::ok("ok"),
        _ => Reply::raw("H").close(),
    })
    .await;
    let stack = Stack::new(&upstream, &cap(1));
    fetch(&stack.pool, &upstream.uri("/")).await.unwrap();
    let error = get(&stack.pool, &upstream.uri("/")).await.unwrap_err();
    assert!(!error.nothing_sent());
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn under_retry_policy_never_nothing_is_retried() {
    let upstream = Upstream::start(|request| match request.nth {
        0 => Reply::ok("ok"),
        _ => Reply::nothing().close(),
    })
    .await;
    let stack = Stack::new(&upstream, &cap(1).retry(RetryPolicy::NEVER));
    fetch(&stack.pool, &upstream.uri("/")).await.unwrap();
    let error = get(&stack.pool, &upstream.uri("/")).await.unwrap_err();
    assert_eq!(error.timings().attempts, 1);
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn a_dead_connection_retires_longer_idle_ones() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |request| match request.nth {
        0 => Reply::ok("ok").when(&held),
        _ if request.target == "/dies" && request.nth == 1 => Reply::nothing().close(),
        _ => Reply::ok("ok"),
    })
    .await;
    let stack = Stack::new(&upstream, &cap(4));
    let uri = upstream.uri("/");
    let burst = join_all((0..4).map(|_| fetch(&stack.pool, &uri)));
    tokio::join!(burst, async {
        gate.reached(4).await;
        gate.open();
    });
    assert_eq!(stack.stats().idle, 4);
    let response = get(&stack.pool, &upstream.uri("/dies")).await.unwrap();
    read(response).await.unwrap();
    let stats = stack.settled(|stats| stats.open == 1).await;
    assert_eq!(
        (stats.closed, stats.closed_for(CloseReason::PeerEof)),
        (4, 4)
    );
}

#[tokio::test]
async fn bytes_that_nobody_asked_for_retire_the_connection() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let stack = Stack::new(&upstream, &cap(1).quarantine(Duration::from_secs(60)));
    fetch(&stack.pool, &upstream.uri("/")).await.unwrap();
    upstream.settled(|stats| stats.idle == 1).await;
    upstream.write_idle("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil");
    let stats = stack.settled(|stats| stats.closed == 1).await;
    assert_eq!(stats.closed_for(CloseReason::Unsolicited), 1);
    // And for a while no connection of this origin is used twice.
    for _ in 0..3 {
        assert_eq!(fetch(&stack.pool, &upstream.uri("/")).await.unwrap(), "ok");
    }
    assert_eq!(upstream.accepted(), 4);
}

#[tokio::test]
async fn stray_bytes_never_become_the_next_answer() {
    let evil = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    let upstream = Upstream::start(move |_| Reply::ok("good").write(evil)).await;
    let stack = Stack::new(&upstream, &cap(1));
    for _ in 0..50 {
        let response = send(&stack.pool, request("GET", &upstream.uri("/")))
            .await
            .unwrap();
        assert_eq!(read(response).await.unwrap(), "good");
    }
    let stats = stack.settled(|stats| stats.closed >= 49).await;
    assert!(
        stats.closed_for(CloseReason::Unsolicited) >= 49,
        "{stats:?}"
    );
}
