//! Callers that vanish, at every await.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join_all;
use http::Request;
use http_body_util::BodyExt;
use support::{Dice, Stack, assert_at_rest, cap, fetch, get, request};
use tollgate_core::CloseReason;
use tollgate_testing::{Gate, Reply, Upstream};
use tower::ServiceExt;

#[tokio::test]
async fn fifty_cancellations_just_after_the_hand_over_cost_no_connection() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let stack = Stack::new(&upstream, &cap(1));
    let uri = upstream.uri("/");
    for _ in 0..50 {
        let held = get(&stack.pool, &uri).await.unwrap();
        let mut waiter = Box::pin(stack.pool.clone().oneshot(request("GET", &uri)));
        assert!(waiter.as_mut().now_or_never().is_none());
        // Handing over happens here; the waiter is dropped before it could look.
        let body = held.into_body().collect().await.unwrap();
        drop(body);
        drop(waiter);
    }
    assert_eq!(fetch(&stack.pool, &uri).await.unwrap(), "ok");
    assert_eq!(upstream.accepted(), 1, "the one connection served all");
    let stats = stack.settled(|stats| stats.idle == 1).await;
    assert_eq!(stats.cancelled, 50);
    assert_at_rest(&stats);
}

#[tokio::test]
async fn a_waiter_that_leaves_makes_room_for_the_next() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Reply::ok("ok").when(&held)).await;
    let stack = Stack::new(&upstream, &cap(1));
    let uri = upstream.uri("/");
    let holder = tokio::spawn({
        let (pool, uri) = (stack.pool.clone(), uri.clone());
        async move { fetch(&pool, &uri).await }
    });
    gate.reached(1).await;
    let mut first = Box::pin(stack.pool.clone().oneshot(request("GET", &uri)));
    let mut second = Box::pin(stack.pool.clone().oneshot(request("GET", &uri)));
    assert!(first.as_mut().now_or_never().is_none());
    assert!(second.as_mut().now_or_never().is_none());
    assert_eq!(stack.stats().queued, 2);
    drop(first);
    assert_eq!(stack.stats().queued, 1);
    gate.open();
    assert!(second.await.is_ok());
    holder.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_dial_of_a_caller_that_left_serves_the_next() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let stack = Stack::new(&upstream, &cap(4));
    let uri = upstream.uri("/");
    let mut caller = Box::pin(stack.pool.clone().oneshot(request("GET", &uri)));
    assert!(caller.as_mut().now_or_never().is_none());
    drop(caller);
    stack.settled(|stats| stats.idle == 1).await;
    assert_eq!(fetch(&stack.pool, &uri).await.unwrap(), "ok");
    assert_eq!(upstream.accepted(), 1);
}

#[tokio::test]
async fn a_caller_that_leaves_in_the_middle_of_an_exchange_takes_its_connection_along() {
    let upstream = Upstream::start(|request| match request.connection {
        0 => Reply::never(),
        _ => Reply::ok("ok"),
    })
    .await;
    let stack = Stack::new(&upstream, &cap(1));
    let uri = upstream.uri("/");
    let mut caller = Box::pin(stack.pool.clone().oneshot(request("GET", &uri)));
    tokio::select! {
        _ = &mut caller => panic!("nobody answers"),
        _ = upstream.settled(|stats| stats.requests == 1) => {}
    }
    drop(caller);
    assert_eq!(fetch(&stack.pool, &uri).await.unwrap(), "ok");
    assert_eq!(
        stack.connector.stats().peak_live,
        1,
        "never beside its replacement"
    );
    assert_eq!(stack.stats().closed_for(CloseReason::Cancelled), 1);
}

#[expect(clippy::too_many_lines, reason = "one story")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_random_cancellations_under_load_lose_nothing() {
    const LIMIT: usize = 4;
    let upstream = Upstream::builder()
        .backlog(4096)
        .reply(|request| match request.arrival % 3 {
            0 => Reply::ok("at once"),
            1 => Reply::ok("later").after(Duration::from_micros(300)),
            _ => Reply::chunked()
                .chunk("in ")
                .delay(Duration::from_micros(200))
                .chunk("pieces")
                .end_chunks(),
        })
        .start()
        .await;
    let stack = Stack::new(&upstream, &cap(LIMIT));
    let uri = upstream.uri("/");
    let callers = (0..16_u64).map(|caller| {
        let (pool, uri) = (stack.pool.clone(), uri.clone());
        tokio::spawn(async move {
            let mut dice = Dice(caller);
            let mut cancelled = 0;
            while cancelled < 64 {
                let patience = Duration::from_micros(dice.roll(1500));
                let body = dice.roll(2) == 0;
                let call = async {
                    let request = Request::post(&uri)
                        .body(http_body_util::Full::new(Bytes::from(if body {
                            "x"
                        } else {
                            ""
                        })))
                        .unwrap();
                    let response = pool.clone().oneshot(request).await?;
                    response.into_body().collect().await?;
                    Ok::<_, tollgate_core::BoxError>(())
                };
                match tokio::time::timeout(patience, call).await {
                    Err(_) => cancelled += 1,
                    Ok(outcome) => outcome.unwrap(),
                }
            }
            cancelled
        })
    });
    let cancelled: u64 = join_all(callers)
        .await
        .into_iter()
        .map(Result::unwrap)
        .sum();
    assert!(cancelled >= 1000);

    let stats = stack
        .settled(|s| s.in_flight + s.queued + s.connecting == 0)
        .await;
    assert_at_rest(&stats);
    assert!(
        stack.connector.stats().peak_live <= LIMIT,
        "{:?}",
        stack.connector.stats()
    );
    assert!(fetch(&stack.pool, &uri).await.is_ok());
    stack.connector.settled(|s| s.live <= LIMIT).await;
}
