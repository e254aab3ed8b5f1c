//! The mode in which readiness is a place.
#![expect(clippy::unwrap_used, reason = "helpers of tests, too")]

mod common;

use std::sync::{Arc, Mutex};
use std::task::Poll;

use common::{Mock, Req, Script, arrived, assert_idle, get, ms, over_mock, start};
use http::Response;
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tollgate_core::{Event, Observer};
use tollgate_pool_limit::{Closed, PoolLimitLayer, ReservingPoolLimit, ReservingPoolLimitLayer};
use tower::{Layer, Service, ServiceExt};

const A: &str = "http://a.test";

fn reserving(limit: usize) -> ReservingPoolLimitLayer {
    PoolLimitLayer::whole_service(limit)
        .unwrap()
        .reserve_in_poll_ready()
}

fn without_queue(limit: usize) -> ReservingPoolLimitLayer {
    PoolLimitLayer::whole_service(limit)
        .unwrap()
        .no_queue()
        .reserve_in_poll_ready()
}

fn ready<S: Service<Req>>(service: &mut S) -> Poll<Result<(), S::Error>> {
    task::spawn(std::future::poll_fn(|cx| service.poll_ready(cx))).poll()
}

fn waiting<S: Service<Req> + Clone>(
    service: &S,
) -> task::Spawn<impl Future<Output = Result<S, S::Error>>> {
    let mut task = task::spawn(service.clone().ready_oneshot());
    assert!(task.poll().is_pending());
    task
}

#[tokio::test]
async fn a_ready_clone_holds_a_place_until_it_is_dropped() {
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
async fn a_call_holds_the_place_to_the_end_of_the_body() {
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
async fn readiness_is_used_up_by_the_call_and_not_copied_by_a_clone() {
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

#[tokio::test]
async fn without_a_queue_one_who_waits_is_woken_and_holds_nothing() {
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
async fn raising_the_limit_wakes_who_waits_without_a_queue() {
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
        assert!(assert_ready_err!(next.poll()).is::<Closed>());
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
async fn a_place_that_falls_free_while_being_refused_is_noticed() {
    #[derive(Clone, Default)]
    struct FreesIt(Arc<Mutex<Option<ReservingPoolLimit<Mock>>>>);
    impl Observer for FreesIt {
        fn on_event(&self, event: &Event<'_>) {
            if let Event::Refused { .. } = event {
                let holder = self.0.lock().unwrap().take();
                drop(holder);
            }
        }
    }
    let holder = FreesIt::default();
    let layer = PoolLimitLayer::whole_service(1)
        .unwrap()
        .no_queue()
        .observer(holder.clone())
        .reserve_in_poll_ready();
    let (mut service, _peer) = over_mock(layer);
    let mut held = service.clone();
    assert_ready_ok!(ready(&mut held));
    *holder.0.lock().unwrap() = Some(held);
    assert_ready_ok!(ready(&mut service));
}
