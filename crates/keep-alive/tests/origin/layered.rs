//! Under tower's `LoadShed`, `Buffer` and `Balance`, which act on readiness.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use tollgate_core::BoxError;
use tollgate_keep_alive::KeepAliveErrorKind;
use tollgate_testing::{Gate, Reply, Upstream, within};
use tower::balance::p2c::Balance;
use tower::buffer::Buffer;
use tower::discover::ServiceList;
use tower::load::Constant;
use tower::load_shed::LoadShed;
use tower::load_shed::error::Overloaded;
use tower::{Service, ServiceExt};

use crate::support::{LONG, Stack, assert_at_rest, cap, read};
use crate::{Req, get, ready, warm, when_ready};

/// An upstream whose `/held` waits for the gate.
async fn gated() -> (Gate, Upstream) {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |request| match &*request.target {
        "/held" => Reply::ok("held").when(&held),
        _ => Reply::ok("ok"),
    });
    (gate, upstream.await)
}

#[tokio::test]
async fn load_shed_at_the_cap_queues_nothing() {
    let (gate, upstream) = gated().await;
    let (stack, service) = warm(&upstream, &cap(1)).await;
    let shedding = LoadShed::new(service);
    let busy = tokio::spawn(shedding.clone().oneshot(get("/held")));
    gate.reached(1).await;
    for _ in 0..10 {
        let error = within(LONG, shedding.clone().oneshot(get("/"))).await;
        assert!(error.unwrap_err().is::<Overloaded>());
    }
    assert_eq!(stack.stats().queued, 0);

    gate.open();
    assert_eq!(read(busy.await.unwrap().unwrap()).await.unwrap(), "held");
    let response = within(LONG, shedding.oneshot(get("/"))).await.unwrap();
    assert_eq!(read(response).await.unwrap(), "ok");
    assert_eq!(upstream.accepted(), 1);
    assert_at_rest(&stack.stats());
}

/// tower's own limit keeps the place in the queue of a clone that was shed: the next caller is then
/// shed with nothing in flight. A queue of length 0 has no place to keep.
#[tokio::test]
async fn with_max_waiting_zero_shed_calls_take_nothing() {
    let (gate, upstream) = gated().await;
    let (stack, service) = warm(&upstream, &cap(1).max_waiting(0)).await;
    let mut long_lived = LoadShed::new(service);
    let mut other = long_lived.clone();
    let busy = tokio::spawn(long_lived.clone().oneshot(get("/held")));
    gate.reached(1).await;
    let shed = when_ready(&mut long_lived).await.call(get("/"));
    let error = within(LONG, shed).await.unwrap_err();
    let error = error.downcast_ref::<tollgate_keep_alive::KeepAliveError>();
    assert_eq!(error.unwrap().kind(), KeepAliveErrorKind::QueueFull);

    gate.open();
    read(busy.await.unwrap().unwrap()).await.unwrap();
    let response = within(LONG, when_ready(&mut other).await.call(get("/")));
    assert_eq!(read(response.await.unwrap()).await.unwrap(), "ok");
    assert_at_rest(&stack.stats());
}

#[tokio::test]
async fn a_cold_origin_sheds_and_warms_up() {
    let (_gate, upstream) = gated().await;
    let stack = Stack::new(&upstream, &cap(1));
    let shedding = LoadShed::new(stack.pool.origin(&stack.origin).unwrap());
    let error = shedding.clone().oneshot(get("/")).await.unwrap_err();
    assert!(error.is::<Overloaded>(), "a dial is a wait");
    stack.settled(|stats| stats.idle == 1).await;
    let response = within(LONG, shedding.oneshot(get("/"))).await.unwrap();
    assert_eq!(read(response).await.unwrap(), "ok");
    assert_eq!(upstream.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_buffer_serves_all_within_the_cap() {
    let delay = Duration::from_millis(1);
    let upstream = Upstream::start(move |_| Reply::ok("ok").after(delay)).await;
    let (stack, service) = warm(&upstream, &cap(3)).await;
    let buffer = Buffer::new(service, 8);
    let calls = (0..100).map(|_| {
        let buffer = buffer.clone();
        tokio::spawn(async move {
            let response = buffer.oneshot(get("/")).await?;
            Ok::<_, BoxError>(read(response).await?)
        })
    });
    for answer in within(LONG, join_all(calls)).await {
        assert_eq!(answer.unwrap().unwrap(), "ok");
    }
    assert!(stack.connector.stats().peak_live <= 3);
    drop(buffer);
    assert_at_rest(&stack.settled(|s| s.in_flight + s.queued == 0).await);
}

#[tokio::test]
async fn callers_that_leave_a_buffer_take_nothing_along() {
    let (gate, upstream) = gated().await;
    let (stack, service) = warm(&upstream, &cap(1)).await;
    let buffer = Buffer::new(service, 8);
    let busy = tokio::spawn(buffer.clone().oneshot(get("/held")));
    gate.reached(1).await;
    let mut leaving: Vec<_> = (0..5)
        .map(|_| Box::pin(buffer.clone().oneshot(get("/"))))
        .collect();
    for call in &mut leaving {
        assert!(call.as_mut().now_or_never().is_none());
    }
    stack.settled(|stats| stats.queued == 1).await;
    drop(leaving);
    gate.open();
    assert_eq!(read(busy.await.unwrap().unwrap()).await.unwrap(), "held");
    let response = within(LONG, buffer.clone().oneshot(get("/")))
        .await
        .unwrap();
    assert_eq!(read(response).await.unwrap(), "ok");
    assert_eq!(
        upstream.requests().len(),
        3,
        "nobody asked for those who left"
    );
    assert_eq!(upstream.accepted(), 1);
}

#[tokio::test]
async fn a_balancer_picks_the_origin_with_free_connections() {
    let (gate, full) = gated().await;
    let (_, free) = gated().await;
    let (full_stack, full_service) = warm(&full, &cap(1)).await;
    let (free_stack, free_service) = warm(&free, &cap(1)).await;
    let busy = tokio::spawn(full_service.clone().oneshot(get("/held")));
    gate.reached(1).await;

    let endpoints = [full_service, free_service].map(|service| Constant::new(service, 1));
    let mut balance = Balance::new(ServiceList::new::<Req>(endpoints));
    for _ in 0..20 {
        let response = when_ready(&mut balance).await.call(get("/"));
        assert_eq!(read(response.await.unwrap()).await.unwrap(), "ok");
    }
    assert_eq!((full.requests().len(), free.requests().len()), (2, 21));

    // Both taken: the balancer is pending, and ready when one of them is free again.
    let mut holder = free_stack.pool.origin(&free_stack.origin).unwrap();
    let held = when_ready(&mut holder).await.call(get("/held"));
    let held = tokio::spawn(held);
    while ready(&mut balance).is_ready() {
        drop(within(LONG, balance.call(get("/"))).await);
    }
    gate.open();
    read(busy.await.unwrap().unwrap()).await.unwrap();
    when_ready(&mut balance).await;
    drop(balance);
    held.abort();
    let _cancelled = held.await;
    for stack in [full_stack, free_stack] {
        let at_rest = stack.settled(|s| s.in_flight + s.queued + s.connecting == 0);
        assert_at_rest(&at_rest.await);
    }
}
