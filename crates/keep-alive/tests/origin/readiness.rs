//! What being ready means, and who gets what is not used.

use std::time::Duration;

use futures_util::future::join_all;
use tokio_test::{assert_pending, assert_ready_ok};
use tollgate_core::CloseReason;
use tollgate_keep_alive::KeepAliveErrorKind;
use tollgate_testing::{Connector, Refused, Reply, Upstream, within};
use tower::{Layer, Service};

use crate::support::{Dice, LONG, Stack, assert_at_rest, cap, read};
use crate::{get, ready, waiting, warm, when_ready};

async fn ok() -> Upstream {
    Upstream::start(|_| Reply::ok("ok")).await
}

#[tokio::test]
async fn poll_ready_is_pending_only_at_the_cap() {
    let upstream = ok().await;
    let (stack, service) = warm(&upstream, &cap(1)).await;
    let mut holder = service.clone();
    assert_ready_ok!(ready(&mut holder));
    assert_eq!(
        stack.stats().in_flight,
        1,
        "a reserved connection is in use"
    );
    let mut next = waiting(&service);
    assert_eq!(stack.stats().queued, 1);

    let response = within(LONG, holder.call(get("/"))).await.unwrap();
    assert!(!next.is_woken(), "the response's body is not read yet");
    assert_eq!(read(response).await.unwrap(), "ok");
    assert!(next.is_woken());
    drop(assert_ready_ok!(next.poll()));
    assert_at_rest(&stack.stats());
}

#[tokio::test]
async fn a_dropped_ready_clone_hands_its_place_on() {
    let upstream = ok().await;
    let (stack, service) = warm(&upstream, &cap(1)).await;
    let mut holder = service.clone();
    assert_ready_ok!(ready(&mut holder));
    let mut next = waiting(&service);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_pending!(next.poll());

    drop(holder);
    assert!(next.is_woken());
    let mut heir = assert_ready_ok!(next.poll());
    let response = within(LONG, heir.call(get("/"))).await.unwrap();
    assert!(response.body().timings().reused);
    assert_eq!(read(response).await.unwrap(), "ok");
    assert_eq!(upstream.accepted(), 1, "unused is as good as before");
    assert_at_rest(&stack.stats());
}

#[tokio::test]
async fn a_clone_of_a_ready_service_reserves_nothing() {
    let upstream = ok().await;
    let (stack, mut service) = warm(&upstream, &cap(1)).await;
    assert_ready_ok!(ready(&mut service));
    let mut clone = service.clone();
    assert_pending!(ready(&mut clone));
    assert_ready_ok!(ready(&mut service));
    drop(clone);
    assert_eq!((stack.stats().in_flight, stack.stats().queued), (1, 0));
}

#[tokio::test]
async fn a_call_uses_up_its_one_reservation() {
    let upstream = ok().await;
    let (stack, mut service) = warm(&upstream, &cap(1)).await;
    let before = stack.stats().requests;
    for _ in 0..3 {
        assert_ready_ok!(ready(&mut service));
    }
    let response = within(LONG, service.call(get("/"))).await.unwrap();
    assert_eq!(stack.stats().requests - before, 1, "one demand for it all");
    assert_pending!(ready(&mut service));
    drop(response);
}

#[tokio::test]
async fn waiters_are_served_fifo_past_cancelled_ones() {
    let upstream = ok().await;
    let (stack, service) = warm(&upstream, &cap(1)).await;
    let mut holder = service.clone();
    assert_ready_ok!(ready(&mut holder));
    let [first, second, mut third] = [(); 3].map(|()| waiting(&service));
    drop(second);
    assert_eq!(stack.stats().queued, 2);
    drop(holder);
    assert!(first.is_woken() && !third.is_woken());
    // Handed over, and not looked at: it goes on to the next.
    drop(first);
    assert!(third.is_woken());
    drop(assert_ready_ok!(third.poll()));
    let stats = stack.stats();
    assert_eq!((stats.cancelled, upstream.accepted()), (2, 1));
    assert_at_rest(&stats);
}

#[tokio::test]
async fn poll_ready_ends_at_the_acquire_timeout() {
    let upstream = ok().await;
    let layer = cap(1).acquire_timeout(Duration::from_millis(50));
    let (stack, service) = warm(&upstream, &layer).await;
    let mut holder = service.clone();
    assert_ready_ok!(ready(&mut holder));
    let mut late = service.clone();
    let call = when_ready(&mut late).await.call(get("/"));
    let error = call.await.unwrap_err();
    assert_eq!(error.kind(), KeepAliveErrorKind::QueueTimeout);
    drop(holder);

    // Told once: it is as good as new.
    let response = within(LONG, when_ready(&mut late).await.call(get("/")));
    assert_eq!(read(response.await.unwrap()).await.unwrap(), "ok");
    assert_at_rest(&stack.stats());
}

#[tokio::test]
async fn a_failed_dial_is_told_by_the_call() {
    let refused = Refused::start(std::net::Ipv4Addr::LOCALHOST);
    let pool = cap(1).layer(Connector::tcp(refused.addr()));
    let mut service = pool.origin(&"http://dead.test".parse().unwrap()).unwrap();
    let call = when_ready(&mut service).await.call(get("/"));
    let error = call.await.unwrap_err();
    assert_eq!(error.kind(), KeepAliveErrorKind::Connect);
}

#[tokio::test]
async fn a_connection_dead_while_reserved_is_replaced() {
    let upstream = ok().await;
    for asked_again in [true, false] {
        let (stack, mut service) = warm(&upstream, &cap(1)).await;
        assert_ready_ok!(ready(&mut service));
        upstream.settled(|stats| stats.idle == 1).await;
        upstream.close_idle();
        stack.connector.settled(|stats| stats.live == 0).await;
        if asked_again {
            when_ready(&mut service).await;
        }
        let response = within(LONG, service.call(get("/"))).await.unwrap();
        assert_eq!(read(response).await.unwrap(), "ok");
        let stats = stack.stats();
        assert_eq!(stats.closed_for(CloseReason::PeerEof), 1);
        assert_at_rest(&stats);
    }
}

#[tokio::test]
async fn a_call_that_was_not_ready_waits_inside() {
    let upstream = ok().await;
    let stack = Stack::new(&upstream, &cap(1));
    let mut service = stack.pool.origin(&stack.origin).unwrap();
    let calls = [(); 2].map(|()| service.call(get("/")));
    let calls = calls.map(|call| async { read(call.await.unwrap()).await.unwrap() });
    assert_eq!(within(LONG, join_all(calls)).await, ["ok", "ok"]);
    assert_eq!(upstream.accepted(), 1);
}

/// Some are dropped while they wait, some while ready, some in the exchange, some not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_cancellations_at_random_lose_nothing() {
    const LIMIT: usize = 3;
    let delay = Duration::from_micros(200);
    let upstream = Upstream::start(move |request| match request.arrival % 2 {
        0 => Reply::ok("ok"),
        _ => Reply::ok("ok").after(delay),
    })
    .await;
    let (stack, service) = warm(&upstream, &cap(LIMIT)).await;
    let callers = (0..8_u64).map(|caller| {
        let service = service.clone();
        tokio::spawn(async move {
            let mut dice = Dice(caller);
            for _ in 0..125 {
                let patience = Duration::from_micros(dice.roll(1500));
                let unused = dice.roll(4) == 0;
                let mut service = service.clone();
                let call = async {
                    when_ready(&mut service).await;
                    if !unused {
                        let response = service.call(get("/")).await.unwrap();
                        assert_eq!(read(response).await.unwrap(), "ok");
                    }
                };
                let _in_time_or_not = tokio::time::timeout(patience, call).await;
            }
        })
    });
    for caller in join_all(callers).await {
        caller.unwrap();
    }
    let stats = stack
        .settled(|s| s.in_flight + s.queued + s.connecting == 0)
        .await;
    assert_at_rest(&stats);
    assert!(stats.requests >= 1000);
    assert!(stack.connector.stats().peak_live <= LIMIT);
    let mut service = service;
    let last = within(LONG, service.call(get("/"))).await.unwrap();
    assert_eq!(read(last).await.unwrap(), "ok");
}
