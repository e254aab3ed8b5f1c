//! Callers that vanish, at every await.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join_all;
use http::Request;
use http_body_util::{BodyExt, Empty};
use support::{Dice, LONG, Stack, assert_at_rest, cap, fetch, get, read, request};
use tollgate_core::{CloseReason, RefuseReason};
use tollgate_testing::io::Plan;
use tollgate_testing::{Connector, Gate, Recorded, Recorder, Reply, Upstream};
use tower::{Layer, Service, ServiceExt};

#[tokio::test]
async fn cancelling_after_the_hand_over_costs_no_connection() {
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

/// A call is in the queue from `call` on. One that was dropped before its first poll once stayed
/// there, and with it the one connection once that fell free.
#[tokio::test(start_paused = true)]
async fn dropping_an_unpolled_call_empties_the_queue() {
    for of_one_origin in [false, true] {
        let upstream = Upstream::start(|_| Reply::ok("ok")).await;
        let recorder = Recorder::of_pool();
        let stack = Stack::in_memory(&upstream, &cap(1).observer(recorder.clone()));
        let uri = upstream.uri("/");
        let held = get(&stack.pool, &uri).await.unwrap();
        recorder.take();
        let mut service = stack.pool.origin(&stack.origin).unwrap();
        let call = if of_one_origin {
            service.call(request("GET", &uri))
        } else {
            stack.pool.clone().call(request("GET", &uri))
        };
        assert_eq!(stack.stats().queued, 1, "the call has begun");
        drop(call);
        let [
            Recorded::Queued(0),
            Recorded::Refused(RefuseReason::Cancelled, _),
        ] = recorder.take()[..]
        else {
            panic!("it came and went");
        };
        read(held).await.unwrap();
        assert_at_rest(&stack.stats());
        assert_eq!(fetch(&stack.pool, &uri).await.unwrap(), "ok");
        assert_eq!(upstream.accepted(), 1);
        assert_eq!(stack.pool.drain(LONG).await, 0);
    }
}

/// Alone on the way of a caller that nobody serves yet, it leaves no dial behind.
#[tokio::test(start_paused = true)]
async fn dropping_an_unpolled_first_call_dials_nothing() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let stack = Stack::in_memory(&upstream, &cap(1));
    drop(stack.pool.clone().call(request("GET", &upstream.uri("/"))));
    assert_at_rest(&stack.stats());
    tokio::time::sleep(LONG).await;
    assert_eq!(upstream.accepted(), 0);
}

#[tokio::test(start_paused = true)]
async fn dropping_an_unpolled_call_releases_its_lease() {
    for of_one_origin in [false, true] {
        let upstream = Upstream::start(|_| Reply::ok("ok")).await;
        let recorder = Recorder::of_pool();
        let stack = Stack::in_memory(&upstream, &cap(1).observer(recorder.clone()));
        let uri = upstream.uri("/");
        fetch(&stack.pool, &uri).await.unwrap();
        recorder.take();
        if of_one_origin {
            let mut service = stack.pool.origin(&stack.origin).unwrap();
            let call = request("GET", &uri);
            ServiceExt::<Request<Empty<Bytes>>>::ready(&mut service)
                .await
                .unwrap();
            drop(service.call(call));
        } else {
            drop(stack.pool.clone().call(request("GET", &uri)));
        }
        let seen = recorder.take();
        assert_eq!(
            seen[..2],
            [
                Recorded::Granted(Duration::ZERO, true),
                Recorded::Released(Duration::ZERO)
            ]
        );
        assert_eq!(fetch(&stack.pool, &uri).await.unwrap(), "ok");
        assert_at_rest(&stack.stats());
        // The request was on its way, so its connection has gone with it.
        assert_eq!(stack.stats().closed_for(CloseReason::Cancelled), 1);
    }
}

#[tokio::test]
async fn a_cancelled_waiter_makes_room_for_the_next() {
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
async fn a_cancelled_callers_dial_serves_the_next() {
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
async fn a_cancelled_http1_exchange_closes_its_connection() {
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

#[tokio::test]
async fn a_pending_call_reports_timings_and_nothing_sent() {
    let upstream = Upstream::start(|request| match request.nth {
        1 => Reply::nothing().close(),
        _ => Reply::ok("ok"),
    })
    .await;
    let mut stack = Stack::new(&upstream, &cap(1));
    stack.connector = Connector::tcp(upstream.addr()).script(|dial| match dial.nth {
        0 => Plan::connect(),
        _ => Plan::hang(),
    });
    stack.pool = cap(1).layer(stack.connector.clone());
    fetch(&stack.pool, &upstream.uri("/")).await.unwrap();

    // On the connection that is there, and after its death in wait of another.
    let mut recorded = stack.pool.call(request("GET", &upstream.uri("/")));
    assert!(!recorded.nothing_sent());
    let timings = recorded.timings();
    assert!(timings.reused && timings.connection == 1);
    while recorded.timings().connection == 1 {
        assert!((&mut recorded).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    assert!(!recorded.nothing_sent());
    assert_eq!(recorded.timings().attempts, 1);

    let mut waits = stack.pool.call(request("GET", &upstream.uri("/")));
    assert!((&mut waits).now_or_never().is_none());
    assert!(waits.nothing_sent());
    let (before, timings) = (waits.timings(), waits.timings());
    assert!(timings.queued >= before.queued && timings.queued > Duration::ZERO);
    assert_eq!((timings.attempts, timings.connection), (0, 0));
}
