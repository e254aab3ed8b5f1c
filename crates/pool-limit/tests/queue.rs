//! The limit that waits in the call: order, bounds, deadlines, errors, cancellation.
#![expect(clippy::unwrap_used, reason = "helpers of tests, too")]

mod common;

use std::io;
use std::time::Duration;

use common::{Script, arrived, assert_adds_up, assert_idle, get, ms, over_mock, refused, start};
use http::Response;
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tollgate_core::error::chain;
use tollgate_core::{BoxError, ConnectErrorKind, HasOrigin};
use tollgate_pool_limit::{
    PoolLimit, PoolLimitBody, PoolLimitError, PoolLimitErrorKind, PoolLimitHandle, PoolLimitLayer,
    ReservingPoolLimit, ZeroLimit,
};
use tower::{Service, ServiceExt, service_fn};

const A: &str = "http://a.test";

fn limit(limit: usize) -> PoolLimitLayer {
    PoolLimitLayer::per_origin(limit).unwrap()
}

fn empty() -> Response<Script> {
    Response::new(Script::empty())
}

#[test]
fn everything_is_send_and_sync() {
    fn all<T: Send + Sync + 'static>() {}
    fn clone<T: Clone>() {}
    all::<PoolLimitLayer>();
    all::<PoolLimit<()>>();
    all::<PoolLimitBody<()>>();
    all::<PoolLimitHandle>();
    all::<ReservingPoolLimit<()>>();
    all::<PoolLimitError>();
    clone::<PoolLimitLayer>();
    clone::<PoolLimit<()>>();
    clone::<PoolLimitHandle>();
    clone::<ReservingPoolLimit<()>>();
}

#[test]
fn a_limit_of_zero_is_an_explained_error() {
    let error: ZeroLimit = PoolLimitLayer::per_origin(0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a limit of 0 lets nothing through: give at least 1, or leave the layer out"
    );
    let by_path = |request: &common::Req| request.uri().path().to_owned();
    assert!(PoolLimitLayer::per_key(0, by_path).is_err());
    assert!(PoolLimitLayer::whole_service(0).is_err());
    let (service, _peer) = over_mock(limit(1));
    assert!(service.handle().reconfigure(0).is_err());
    assert_eq!(service.handle().total().limit, 1);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_limit_reach_the_service() {
    let (mut service, mut peer) = over_mock(limit(2));
    let mut calls: Vec<_> = (0..5).map(|_| start(&mut service, A)).collect();
    let (first, second) = (arrived(&mut peer).unwrap(), arrived(&mut peer).unwrap());
    assert!(arrived(&mut peer).is_none());
    let stats = service.handle().total();
    assert_eq!((stats.in_flight, stats.queued, stats.limit), (2, 3, 2));

    first.send_response(empty());
    drop(assert_ready_ok!(calls[0].poll()));
    assert!(calls[2].is_woken(), "the head of the queue");
    assert!(
        !calls[3].is_woken() && !calls[4].is_woken(),
        "and nobody else"
    );
    assert_pending!(calls[2].poll());
    assert!(arrived(&mut peer).is_some());
    second.send_response(empty());
    drop(calls);
    assert_idle(&service.handle().total());
}

#[tokio::test(start_paused = true)]
async fn the_first_poll_decides_the_queue_order() {
    let (mut service, mut peer) = over_mock(limit(1));
    let mut holder = start(&mut service, A);
    let early_call = service.call(get("http://a.test/called-first"));
    let mut polled_first = start(&mut service, A);
    let mut called_first = task::spawn(early_call);
    assert_pending!(called_first.poll());

    arrived(&mut peer).unwrap().send_response(empty());
    drop(assert_ready_ok!(holder.poll()));
    assert!(polled_first.is_woken() && !called_first.is_woken());
    assert_pending!(polled_first.poll());
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_never_overtakes_one_who_waits() {
    let (mut service, mut peer) = over_mock(limit(1));
    let mut holder = start(&mut service, A);
    let mut waiting = start(&mut service, A);
    arrived(&mut peer).unwrap().send_response(empty());
    drop(assert_ready_ok!(holder.poll()));
    // The place is reserved; the waiter has been woken and has not run yet.
    let _newcomer = start(&mut service, A);
    assert!(arrived(&mut peer).is_none());
    assert_pending!(waiting.poll());
    assert!(arrived(&mut peer).is_some());
}

#[tokio::test(start_paused = true)]
async fn an_unpolled_call_demands_nothing() {
    let (mut service, _peer) = over_mock(limit(1));
    let call = service.call(get(A));
    assert_eq!(service.handle().total().totals.demands, 0);
    drop(call);
    assert_idle(&service.handle().total());
}

#[tokio::test(start_paused = true)]
async fn an_acquire_timeout_ends_on_its_millisecond() {
    let (mut service, _peer) = over_mock(limit(1).acquire_timeout(ms(250)));
    let _holder = start(&mut service, A);
    let _ahead = start(&mut service, A);
    advance(ms(100)).await;
    let mut call = start(&mut service, A);
    advance(ms(249)).await;
    assert_pending!(call.poll());
    advance(ms(1)).await;
    assert!(call.is_woken());
    let error = assert_ready_err!(call.poll());
    let error: &PoolLimitError = error.downcast_ref().unwrap();
    assert_eq!(error.kind(), PoolLimitErrorKind::QueueTimeout);
    assert_eq!(
        (error.limit(), error.waited(), error.ahead()),
        (1, ms(250), 1)
    );
    assert_eq!(error.origin(), get(A).origin().as_ref());
    assert_eq!(
        error.to_string(),
        "waited 250ms for one of 1 places to http://a.test, with 1 ahead; the peer is slow, \
         bodies are held open, or the limit is too low"
    );
    let last = chain(error)
        .last()
        .unwrap()
        .downcast_ref::<io::Error>()
        .unwrap();
    assert_eq!(last.kind(), io::ErrorKind::TimedOut);
    assert_eq!(ConnectErrorKind::of(error), ConnectErrorKind::Timeout);
    drop(call);
    let stats = service.handle().total();
    assert_eq!((stats.totals.timed_out, stats.in_flight), (1, 1));
    assert_adds_up(&stats);
}

#[tokio::test(start_paused = true)]
async fn a_place_freed_at_the_timeout_wins() {
    let (mut service, mut peer) = over_mock(limit(1).acquire_timeout(ms(250)));
    let mut holder = start(&mut service, A);
    let mut waiting = start(&mut service, A);
    let respond = arrived(&mut peer).unwrap();
    advance(ms(250)).await;
    respond.send_response(empty());
    drop(assert_ready_ok!(holder.poll()));
    assert_pending!(waiting.poll());
    arrived(&mut peer).unwrap().send_response(empty());
    assert_ready_ok!(waiting.poll());
}

/// It went on at the next poll of any other, which was that of a deadline where nobody came: without one
/// it was lost. A caller that keeps its future without polling it was found by chance.
#[tokio::test(start_paused = true)]
async fn a_place_that_is_not_collected_wakes_the_next() {
    for timeout in [Duration::from_secs(10), Duration::MAX] {
        // Freed at once, and while the next has waited for longer and for shorter than that.
        for freed_after in [0, 100, 249, 250, 900] {
            let (mut service, mut peer) = over_mock(limit(1).acquire_timeout(timeout));
            let holder = start(&mut service, A);
            drop(arrived(&mut peer).unwrap());
            let kept = start(&mut service, A);
            let _next = tokio::spawn(service.call(get(A)));
            tokio::task::yield_now().await;
            advance(ms(freed_after)).await;
            let freed = Instant::now();
            drop(holder);
            let arrived = tokio::time::timeout(ms(5_000), peer.next_request()).await;
            assert!(arrived.unwrap().is_some() && kept.is_woken());
            assert_eq!(freed.elapsed(), ms(250), "{timeout:?}, {freed_after} ms");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_longest_acquire_timeout_does_not_overflow() {
    let (mut service, _peer) = over_mock(limit(1).acquire_timeout(Duration::MAX));
    let _holder = start(&mut service, A);
    let mut waiting = start(&mut service, A);
    advance(Duration::from_secs(1_000_000)).await;
    assert_pending!(waiting.poll());
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_without_taking_a_place() {
    let (mut service, mut peer) = over_mock(limit(1).max_waiting(1));
    let mut holder = start(&mut service, A);
    let mut waiting = start(&mut service, A);
    let mut call = task::spawn(service.call(get(A)));
    let error = assert_ready_err!(call.poll());
    let full: &PoolLimitError = error.downcast_ref().unwrap();
    assert_eq!(full.kind(), PoolLimitErrorKind::QueueFull);
    assert_eq!(
        (full.limit(), full.ahead(), full.waited()),
        (1, 1, Duration::ZERO)
    );
    assert_eq!(full.origin(), get(A).origin().as_ref());
    assert_eq!(
        error.to_string(),
        "1 are in flight to http://a.test and 1 wait, which is as many as may; shed load, raise \
         the limit or raise max_waiting"
    );
    // The refused call is still alive: the place goes to the one who waits all the same.
    arrived(&mut peer).unwrap().send_response(empty());
    drop(assert_ready_ok!(holder.poll()));
    assert!(waiting.is_woken());
    assert_pending!(waiting.poll());
    drop((waiting, call));
    assert_idle(&service.handle().total());
    assert_eq!(service.handle().total().totals.refused, 1);
}

#[tokio::test(start_paused = true)]
async fn no_queue_refuses_all_over_the_limit() {
    let (mut service, mut peer) = over_mock(limit(1).no_queue());
    let mut holder = start(&mut service, A);
    let error = assert_ready_err!(task::spawn(service.call(get(A))).poll());
    assert_eq!(refused(&error), PoolLimitErrorKind::QueueFull);
    arrived(&mut peer).unwrap().send_response(empty());
    drop(assert_ready_ok!(holder.poll()));
    assert_pending!(start(&mut service, A).poll());
}

#[tokio::test(start_paused = true)]
async fn release_at_head_serves_a_custom_response() {
    let layer = limit(1).release_at_head();
    let service = tower::Layer::layer(
        &layer,
        service_fn(|_: http::Uri| async { Ok::<_, BoxError>("not HTTP at all") }),
    );
    let answer = service.oneshot(http::Uri::from_static(A)).await.unwrap();
    assert_eq!(answer, "not HTTP at all");
}
