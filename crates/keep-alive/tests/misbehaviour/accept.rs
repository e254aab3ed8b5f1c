//! Servers that do not wait for the request.

use std::time::Duration;

use http::Request;
use http_body_util::Full;
use tollgate_core::CloseReason;
use tollgate_keep_alive::KeepAliveErrorKind;
use tollgate_testing::{Reply, Upstream};

use crate::call::{Outcome, call};
use crate::support::{Stack, assert_at_rest, cap, fetch};

const EVIL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";

/// An upstream whose first connection does this before it has read anything.
async fn first_connection_does(greeting: Reply) -> (Upstream, Stack) {
    let upstream = Upstream::builder()
        .on_accept(move |number| match number {
            0 => greeting.clone(),
            _ => Reply::nothing(),
        })
        .reply(|request| Reply::ok(request.target[1..].to_owned()))
        .start()
        .await;
    let stack = Stack::new(&upstream, &cap(1));
    (upstream, stack)
}

#[tokio::test]
async fn early_bytes_or_close_retire_a_connection() {
    for (greeting, reason) in [
        (Reply::raw(EVIL), CloseReason::Unsolicited),
        (
            Reply::raw("HTTP/1.1 103 Early Hints\r\n\r\n"),
            CloseReason::Unsolicited,
        ),
        (Reply::raw("x"), CloseReason::Unsolicited),
        (Reply::raw(EVIL).close(), CloseReason::Unsolicited),
        (Reply::nothing().close(), CloseReason::PeerEof),
        (Reply::nothing().reset(), CloseReason::Error),
    ] {
        let name = format!("{greeting:?}");
        let (upstream, stack) = first_connection_does(greeting).await;
        stack.pool.warm(&stack.origin, 1).unwrap();
        let stats = stack.settled(|stats| stats.closed == 1).await;
        assert_eq!(stats.closed_for(reason), 1, "{name}: {stats:?}");
        for tag in ["first", "second"] {
            let uri = upstream.uri(&format!("/{tag}"));
            assert_eq!(fetch(&stack.pool, &uri).await.unwrap(), tag, "{name}");
        }
        assert_eq!(upstream.accepted(), 2, "{name}");
        assert_at_rest(&stack.settled(|stats| stats.in_flight == 0).await);
    }
}

/// Whether the request is written before the end is seen is a race; both outcomes are told truly.
#[tokio::test]
async fn an_immediate_close_is_replaced_or_reported() {
    for greeting in [Reply::nothing().close(), Reply::nothing().reset()] {
        for round in 0..20 {
            let (upstream, stack) = first_connection_does(greeting.clone()).await;
            let request = Request::post(upstream.uri("/tag"))
                .body(Full::from("x"))
                .unwrap();
            let limit = Duration::from_secs(10);
            match call(stack.pool.clone(), request, limit).await {
                Outcome::Answer(200, body) => assert_eq!(body, "tag"),
                Outcome::Failed(error) => {
                    assert_eq!(error.kind(), KeepAliveErrorKind::ClosedAfterSent);
                    assert!(!error.nothing_sent());
                }
                other => panic!("round {round}: {other:?}"),
            }
            assert_eq!(
                fetch(&stack.pool, &upstream.uri("/next")).await.unwrap(),
                "next"
            );
            let posts = upstream
                .requests()
                .iter()
                .filter(|r| r.method == "POST")
                .count();
            assert!(posts <= 1, "sent {posts} times");
            assert_at_rest(&stack.settled(|stats| stats.in_flight == 0).await);
        }
    }
}

#[tokio::test]
async fn a_server_closing_at_once_is_tried_boundedly() {
    const CALLS: usize = 20;
    /// The most losses that cost no retry: on a machine that stalls, a connection is a stale one.
    const STALE: u32 = 16;
    let upstream = Upstream::builder()
        .on_accept(|_| Reply::nothing().close())
        .start()
        .await;
    let stack = Stack::new(&upstream, &cap(1));
    for _ in 0..CALLS {
        let request = Request::post(upstream.uri("/"))
            .body(Full::from("x"))
            .unwrap();
        let limit = Duration::from_secs(10);
        match call(stack.pool.clone(), request, limit).await {
            Outcome::Failed(error) => {
                let unsent = error.kind() == KeepAliveErrorKind::ClosedBeforeSent;
                assert!(unsent || error.kind() == KeepAliveErrorKind::ClosedAfterSent);
                assert_eq!(error.nothing_sent(), unsent);
                assert!(error.timings().attempts <= 4 + STALE, "{error:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    let dials = stack.connector.stats().calls;
    assert!(dials <= CALLS * 5, "{dials} dials for {CALLS} calls");
    assert!(stack.connector.stats().peak_live <= 1);
    assert_at_rest(&stack.settled(|stats| stats.open == 0).await);
}
