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
async fn a_connection_that_was_closed_while_idle_is_replaced() {
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
async fn a_get_on_a_reused_connection_that_dies_unanswered_is_sent_once_more() {
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

#[tokio::test]
async fn a_second_death_and_a_death_on_a_fresh_connection_are_told() {
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
async fn a_post_is_never_sent_twice_and_its_error_says_that_it_was_sent() {
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
async fn one_byte_of_an_answer_is_enough_not_to_send_again() {
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
async fn nothing_is_sent_again_if_the_policy_says_so() {
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
async fn a_dead_connection_takes_the_ones_that_idled_longer_along() {
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
async fn bytes_behind_an_answer_never_become_the_next_answer() {
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
