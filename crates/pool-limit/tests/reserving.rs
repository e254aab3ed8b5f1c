//! The mode in which readiness is a place.
#![expect(clippy::unwrap_used, reason = "helpers of tests, too")]

mod common;

use std::sync::{Arc, Mutex};

use common::{
    Mock, Req, Script, arrived, assert_idle, get, ms, over_mock, ready, refused, reserving, start,
    without_queue,
};
use http::Response;
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tollgate_core::Event;
use tollgate_pool_limit::{PoolLimitErrorKind, PoolLimitLayer, ReservingPoolLimit};
use tollgate_testing::Recorder;
use tower::{Layer, Service, ServiceExt};

const A: &str = "http://a.test";

fn waiting<S: Service<Req> + Clone>(
    service: &S,
) -> task::Spawn<impl Future<Output = Result<S, S::Error>>> {
    let mut task = task::spawn(service.clone().ready_oneshot());
    assert!(task.poll().is_pending());
    task
}

#[tokio::test]
async fn a_ready_clone_holds_a_place_until_dropped() {
    let (service, _peer) = over_mock(reserving(1));
    let mut holder = service.clone();
    assert_ready_ok!(ready(&mut holder));
    let next = waiting(&service);
    drop(holder);
    assert!(next.is_woken());
    drop(next);
    assert_idle(&service.handle().total());
}

#[tokio::test]
async fn a_reserved_place_lasts_to_the_bodys_end() {
    let (mut service, mut peer) = over_mock(reserving(1));
    let mut call = start(&mut service, A);
    let next = waiting(&service);
    arrived(&mut peer)
        .unwrap()
        .send_response(Response::new(Script::chunked(&["x"])));
    let response = assert_ready_ok!(call.poll());
    drop(call);
    assert!(!next.is_woken());
    drop(response);
    assert!(next.is_woken());
}

#[tokio::test]
async fn a_call_spends_readiness_and_clones_get_none() {
    let (mut service, _peer) = over_mock(reserving(1));
    let mut clone = service.clone();
    assert_ready_ok!(ready(&mut service));
    assert_pending!(ready(&mut clone));
    assert_ready_ok!(ready(&mut service));
    let mut copy = service.clone();
    assert_pending!(ready(&mut copy));
    let _call = service.call(get(A));
    assert_pending!(ready(&mut service));
}

#[tokio::test]
#[should_panic(expected = "called only after poll_ready")]
async fn a_call_without_readiness_panics() {
    let (mut service, _peer) = over_mock(reserving(1));
    drop(service.call(get(A)));
}

#[tokio::test]
async fn those_who_wait_are_served_in_order() {
    let (service, _peer) = over_mock(reserving(1));
    let mut holder = service.clone();
    assert_ready_ok!(ready(&mut holder));
    let (first, mut second) = (waiting(&service), waiting(&service));
    drop(holder);
    assert!(first.is_woken() && !second.is_woken());
    drop(first);
    assert!(second.is_woken());
    assert_ready_ok!(second.poll());
}

#[tokio::test(start_paused = true)]
async fn a_wait_in_poll_ready_has_no_deadline() {
    let layer = PoolLimitLayer::whole_service(1)
        .unwrap()
        .acquire_timeout(ms(1))
        .reserve_in_poll_ready();
    let (service, _peer) = over_mock(layer);
    let mut holder = service.clone();
    assert_ready_ok!(ready(&mut holder));
    let mut next = waiting(&service);
    tokio::time::advance(ms(1_000_000)).await;
    assert_pending!(next.poll());
}

/// Ready clones that nobody polls any more cost those in the queue 250 ms, and those beside it no more.
#[tokio::test(start_paused = true)]
async fn places_that_are_not_collected_wake_all_waiters() {
    let layer = PoolLimitLayer::whole_service(2).unwrap().max_waiting(1);
    let (service, _peer) = over_mock(layer.reserve_in_poll_ready());
    let (mut one, mut two) = (service.clone(), service.clone());
    assert_ready_ok!(ready(&mut one));
    assert_ready_ok!(ready(&mut two));
    let first = waiting(&service);
    drop(one);
    let second = waiting(&service);
    drop(two);
    assert!(first.is_woken() && second.is_woken());
    let mut queued = waiting(&service);
    let mut beside = waiting(&service);
    assert_eq!(service.handle().total().queued, 1);
    tokio::time::advance(ms(250)).await;
    assert!(queued.is_woken() && !beside.is_woken());
    let _queued = assert_ready_ok!(queued.poll());
    assert!(beside.is_woken());
    assert_ready_ok!(beside.poll());
}

#[tokio::test]
async fn without_a_queue_every_waiter_is_woken() {
    let (service, _peer) = over_mock(without_queue(1));
    let mut holder = service.clone();
    assert_ready_ok!(ready(&mut holder));
    let (mut first, mut second) = (waiting(&service), waiting(&service));
    assert_eq!(service.handle().total().queued, 0);
    drop(holder);
    assert!(first.is_woken() && second.is_woken());
    // In whatever order they come.
    let winner = assert_ready_ok!(second.poll());
    assert_pending!(first.poll());
    drop(winner);
    assert!(first.is_woken());
    assert_ready_ok!(first.poll());
}

#[tokio::test]
async fn raising_the_limit_wakes_unqueued_waiters() {
    let (service, _peer) = over_mock(without_queue(1));
    let mut holder = service.clone();
    assert_ready_ok!(ready(&mut holder));
    let mut next = waiting(&service);
    service.handle().reconfigure(2).unwrap();
    assert!(next.is_woken());
    assert_ready_ok!(next.poll());
}

#[tokio::test]
async fn a_closed_limit_says_so_in_poll_ready() {
    for layer in [reserving(1), without_queue(1)] {
        let (service, _peer) = over_mock(layer);
        let mut holder = service.clone();
        assert_ready_ok!(ready(&mut holder));
        let mut next = waiting(&service);
        service.handle().close();
        assert!(next.is_woken());
        let error = assert_ready_err!(next.poll());
        assert_eq!(refused(&error), PoolLimitErrorKind::Closed);
    }
}

#[test]
fn the_inner_service_can_be_reached() {
    let mut service: ReservingPoolLimit<i32> = reserving(1).layer(1);
    *service.get_mut() += 1;
    assert_eq!(*service.get_ref(), 2);
    assert_eq!(service.into_inner(), 2);
}

/// The place falls free after the queue refused and before anybody listens: the moment in which a
/// wake-up can be lost.
#[tokio::test]
async fn a_place_freed_during_refusal_is_noticed() {
    let holder = Arc::new(Mutex::new(None::<ReservingPoolLimit<Mock>>));
    let inside = holder.clone();
    let frees_it = Recorder::new(move |event| match event {
        Event::Refused { .. } => inside.lock().unwrap().take().map(drop),
        _ => None,
    });
    let layer = PoolLimitLayer::whole_service(1)
        .unwrap()
        .no_queue()
        .observer(frees_it)
        .reserve_in_poll_ready();
    let (mut service, _peer) = over_mock(layer);
    let mut held = service.clone();
    assert_ready_ok!(ready(&mut held));
    *holder.lock().unwrap() = Some(held);
    assert_ready_ok!(ready(&mut service));
}
