//! Changing and ending a limit.
#![expect(clippy::unwrap_used, reason = "helpers of tests, too")]

mod common;

use std::time::Duration;

use common::{Script, arrived, get, ms, over_mock, refused, start};
use http::Response;
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tollgate_pool_limit::{PoolLimitError, PoolLimitErrorKind, PoolLimitLayer};
use tower::Service;

const A: &str = "http://a.test";

fn limit(limit: usize) -> PoolLimitLayer {
    PoolLimitLayer::per_origin(limit).unwrap()
}

fn empty() -> Response<Script> {
    Response::new(Script::empty())
}

#[tokio::test(start_paused = true)]
async fn raising_the_limit_lets_waiters_in_at_once() {
    let (mut service, mut peer) = over_mock(limit(1));
    let _holder = start(&mut service, A);
    let (mut second, mut third) = (start(&mut service, A), start(&mut service, A));
    service.handle().reconfigure(2).unwrap();
    assert!(second.is_woken() && !third.is_woken());
    assert_pending!(second.poll());
    assert_pending!(third.poll());
    assert_eq!(std::iter::from_fn(|| arrived(&mut peer)).count(), 2);
    // Origins that come later have the new limit too.
    let _b = (
        start(&mut service, "http://b"),
        start(&mut service, "http://b"),
    );
    assert_eq!(std::iter::from_fn(|| arrived(&mut peer)).count(), 2);
    assert_eq!(service.handle().total().limit, 2);
}

#[tokio::test(start_paused = true)]
async fn lowering_the_limit_waits_for_returned_places() {
    let (mut service, _peer) = over_mock(limit(2));
    let (first, second) = (start(&mut service, A), start(&mut service, A));
    let waiting = start(&mut service, A);
    service.handle().reconfigure(1).unwrap();
    drop(first);
    assert!(!waiting.is_woken());
    drop(second);
    assert!(waiting.is_woken());
}

#[tokio::test(start_paused = true)]
async fn closing_refuses_waiters_and_newcomers() {
    let (mut service, mut peer) = over_mock(limit(1));
    let mut running = start(&mut service, A);
    let mut waiting = start(&mut service, A);
    advance(ms(40)).await;
    service.handle().close();
    assert!(waiting.is_woken());
    let error = assert_ready_err!(waiting.poll());
    let closed: &PoolLimitError = error.downcast_ref().unwrap();
    assert_eq!(
        (closed.waited(), closed.limit(), closed.ahead()),
        (ms(40), 1, 0)
    );
    assert_eq!(
        error.to_string(),
        "no new requests to http://a.test: the limit was closed for shutdown"
    );
    for uri in [A, "http://new.test", "/unkeyed"] {
        let error = assert_ready_err!(task::spawn(service.call(get(uri))).poll());
        assert_eq!(refused(&error), PoolLimitErrorKind::Closed, "{uri}");
    }
    arrived(&mut peer).unwrap().send_response(empty());
    assert_ready_ok!(running.poll());
}

#[tokio::test(start_paused = true)]
async fn draining_waits_for_the_last_body() {
    let (mut service, mut peer) = over_mock(limit(1));
    let mut running = start(&mut service, A);
    let handle = service.handle();
    let mut drain = task::spawn(handle.drain(ms(1000)));
    assert_pending!(drain.poll());
    arrived(&mut peer)
        .unwrap()
        .send_response(Response::new(Script::chunked(&["x"])));
    let response = assert_ready_ok!(running.poll());
    assert_pending!(drain.poll());
    drop(response);
    assert!(drain.is_woken());
    assert_ready_ok!(drain.poll());
}

#[tokio::test(start_paused = true)]
async fn draining_ends_at_its_deadline_with_a_count() {
    let (mut service, _peer) = over_mock(limit(2));
    let _running = (start(&mut service, A), start(&mut service, A));
    let left = service.handle().drain(ms(1000)).await.unwrap_err();
    assert_eq!((left.in_flight(), left.waited()), (2, ms(1000)));
    assert_eq!(
        left.to_string(),
        "2 still in flight after 1s; allow more time, or cut them off"
    );
}

#[tokio::test(start_paused = true)]
async fn an_idle_limit_is_drained_at_once() {
    let (service, _peer) = over_mock(limit(2));
    service.handle().drain(Duration::ZERO).await.unwrap();
    service.handle().drain(Duration::MAX).await.unwrap();
}

/// It stayed reserved, and the drain waited for it as long as it may.
#[tokio::test(start_paused = true)]
async fn a_drain_takes_an_uncollected_reservation_back() {
    let (mut service, _peer) = over_mock(limit(1));
    let holder = start(&mut service, A);
    let mut unpolled = start(&mut service, A);
    drop(holder);
    assert_eq!(service.handle().total().in_flight, 1);
    let handle = service.handle();
    let mut drain = task::spawn(handle.drain(ms(60_000)));
    assert_pending!(drain.poll());
    advance(ms(251)).await;
    assert_ready_ok!(drain.poll());
    let error = assert_ready_err!(unpolled.poll());
    assert_eq!(refused(&error), PoolLimitErrorKind::Closed);
}
