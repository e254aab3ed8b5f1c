//! Places come back: dropped calls, errors, panics.
#![expect(clippy::unwrap_used, reason = "helpers of tests, too")]

mod common;

use std::io;

use common::{Script, arrived, assert_adds_up, assert_idle, get, over_mock, start};
use http::Response;
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tollgate_core::BoxError;
use tollgate_pool_limit::PoolLimitLayer;
use tower::{Service, service_fn};

const A: &str = "http://a.test";

fn limit(limit: usize) -> PoolLimitLayer {
    PoolLimitLayer::per_origin(limit).unwrap()
}

fn empty() -> Response<Script> {
    Response::new(Script::empty())
}

#[tokio::test(start_paused = true)]
async fn cancelling_a_wait_frees_its_queue_place() {
    let (mut service, mut peer) = over_mock(limit(1));
    let mut holder = start(&mut service, A);
    let gone = start(&mut service, A);
    let mut next = start(&mut service, A);
    drop(gone);
    assert_eq!(service.handle().total().queued, 1);
    arrived(&mut peer).unwrap().send_response(empty());
    drop(assert_ready_ok!(holder.poll()));
    assert!(next.is_woken());
    assert_pending!(next.poll());
    assert!(arrived(&mut peer).is_some());
}

#[tokio::test(start_paused = true)]
async fn cancelling_after_the_grant_hands_the_place_on() {
    let (mut service, mut peer) = over_mock(limit(1));
    let mut holder = start(&mut service, A);
    let granted = start(&mut service, A);
    let mut next = start(&mut service, A);
    arrived(&mut peer).unwrap().send_response(empty());
    drop(assert_ready_ok!(holder.poll()));
    assert!(!next.is_woken());
    drop(granted);
    assert!(next.is_woken(), "the reservation moves on with a wake");
    assert_pending!(next.poll());
    assert!(arrived(&mut peer).is_some());
    let stats = service.handle().total();
    assert_eq!(stats.totals.cancelled, 1);
    assert_adds_up(&stats);
}

#[tokio::test(start_paused = true)]
async fn cancelling_in_flight_gives_the_place_back() {
    let (mut service, _peer) = over_mock(limit(1));
    let running = start(&mut service, A);
    let mut next = start(&mut service, A);
    drop(running);
    assert!(next.is_woken());
    assert_pending!(next.poll());
    drop(next);
    assert_idle(&service.handle().total());
}

#[tokio::test(start_paused = true)]
async fn an_unwrapped_service_error_frees_the_place() {
    let (mut service, mut peer) = over_mock(limit(1));
    let mut call = start(&mut service, A);
    arrived(&mut peer)
        .unwrap()
        .send_error(io::Error::from(io::ErrorKind::ConnectionReset));
    let error = assert_ready_err!(call.poll());
    assert!(error.is::<io::Error>());
    assert_idle(&service.handle().total());
}

#[tokio::test(start_paused = true)]
async fn a_readiness_error_frees_the_place_at_once() {
    let (mut service, mut peer) = over_mock(limit(1));
    peer.send_error(io::Error::other("broken"));
    let mut call = task::spawn(service.call(get(A)));
    assert!(assert_ready_err!(call.poll()).is::<io::Error>());
    assert_idle(&service.handle().total());
}

#[tokio::test(start_paused = true)]
async fn waiting_for_inner_readiness_holds_a_place() {
    let (mut service, mut peer) = over_mock(limit(1));
    peer.allow(0);
    let mut call = start(&mut service, A);
    assert_eq!(service.handle().total().in_flight, 1);
    peer.allow(1);
    assert!(call.is_woken());
    assert_pending!(call.poll());
    assert!(arrived(&mut peer).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_service_panic_frees_the_place() {
    let mut service = tower::Layer::layer(
        &limit(1),
        service_fn(|request: common::Req| async move {
            assert_eq!(request.uri(), "", "the service panics");
            Ok::<_, BoxError>(empty())
        }),
    );
    let call = service.call(get(A));
    assert!(tokio::spawn(call).await.unwrap_err().is_panic());
    assert_idle(&service.handle().total());
}
