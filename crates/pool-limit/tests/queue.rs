//! The limit that waits in the call: order, bounds, deadlines, errors, cancellation.
#![expect(clippy::unwrap_used, reason = "helpers of tests, too")]

mod common;

use std::io;
use std::time::Duration;

use common::{Script, arrived, assert_adds_up, assert_idle, get, ms, over_mock, start};
use http::Response;
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tollgate_core::error::chain;
use tollgate_core::{BoxError, ConnectErrorKind, HasOrigin};
use tollgate_pool_limit::{
    AcquireTimedOut, Closed, PoolFull, PoolLimit, PoolLimitBody, PoolLimitHandle, PoolLimitLayer,
    ReservingPoolLimit, WholeService, ZeroLimit,
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
    all::<AcquireTimedOut>();
    clone::<PoolLimitLayer>();
    clone::<PoolLimit<()>>();
    clone::<PoolLimitHandle>();
    clone::<ReservingPoolLimit<()>>();
}

#[test]
fn zero_is_an_error_and_says_what_to_do() {
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
async fn requests_are_served_in_the_order_of_their_first_poll() {
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
async fn a_call_that_is_not_polled_asks_for_nothing() {
    let (mut service, _peer) = over_mock(limit(1));
    let call = service.call(get(A));
    assert_eq!(service.handle().total().totals.demands, 0);
    drop(call);
    assert_idle(&service.handle().total());
}

#[tokio::test(start_paused = true)]
async fn an_acquire_timeout_ends_the_wait_on_its_millisecond() {
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
    let error: &AcquireTimedOut = error.downcast_ref().unwrap();
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
    assert_eq!(ConnectErrorKind::of(error), ConnectErrorKind::TimedOut);
    drop(call);
    let stats = service.handle().total();
    assert_eq!((stats.totals.timed_out, stats.in_flight), (1, 1));
    assert_adds_up(&stats);
}

#[tokio::test(start_paused = true)]
async fn a_place_that_falls_free_in_the_moment_of_the_timeout_wins() {
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

#[tokio::test(start_paused = true)]
async fn a_wait_may_be_as_long_as_one_likes() {
    let (mut service, _peer) = over_mock(limit(1).acquire_timeout(Duration::MAX));
    let _holder = start(&mut service, A);
    let mut waiting = start(&mut service, A);
    advance(Duration::from_secs(1_000_000)).await;
    assert_pending!(waiting.poll());
}

#[tokio::test(start_paused = true)]
async fn who_finds_the_queue_full_is_told_at_once_and_takes_no_place() {
    let (mut service, mut peer) = over_mock(limit(1).max_waiting(1));
    let mut holder = start(&mut service, A);
    let mut waiting = start(&mut service, A);
    let mut call = task::spawn(service.call(get(A)));
    let error = assert_ready_err!(call.poll());
    let full: &PoolFull = error.downcast_ref().unwrap();
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
async fn without_a_queue_everything_over_the_limit_is_refused() {
    let (mut service, mut peer) = over_mock(limit(1).no_queue());
    let mut holder = start(&mut service, A);
    let error = assert_ready_err!(task::spawn(service.call(get(A))).poll());
    assert!(error.is::<PoolFull>());
    arrived(&mut peer).unwrap().send_response(empty());
    drop(assert_ready_ok!(holder.poll()));
    assert_pending!(start(&mut service, A).poll());
}

#[tokio::test(start_paused = true)]
async fn dropping_a_waiting_call_frees_its_place_in_the_queue() {
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
async fn dropping_a_call_just_after_its_grant_hands_the_place_on() {
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
async fn dropping_a_call_in_flight_gives_its_place_back() {
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
async fn an_error_of_the_service_passes_unwrapped_and_gives_the_place_back() {
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
async fn an_error_of_readiness_gives_the_place_back_at_once() {
    let (mut service, mut peer) = over_mock(limit(1));
    peer.send_error(io::Error::other("broken"));
    let mut call = task::spawn(service.call(get(A)));
    assert!(assert_ready_err!(call.poll()).is::<io::Error>());
    assert_idle(&service.handle().total());
}

#[tokio::test(start_paused = true)]
async fn a_place_is_held_while_the_service_below_makes_itself_ready() {
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
async fn a_panic_in_the_service_leaves_no_place_taken() {
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

#[tokio::test(start_paused = true)]
async fn each_origin_has_a_limit_of_its_own() {
    let (mut service, mut peer) = over_mock(limit(1));
    let _a = start(&mut service, "http://a.test/1");
    let _b = start(&mut service, "http://b.test/1");
    let _secure = start(&mut service, "https://a.test/1");
    for _ in 0..3 {
        assert!(arrived(&mut peer).is_some());
    }
    let _same = start(&mut service, "HTTP://A.test:80/2");
    assert!(arrived(&mut peer).is_none());
    let handle = service.handle();
    assert_eq!(handle.origins().len(), 3);
    let a = handle.origin(&A.parse().unwrap()).unwrap();
    assert_eq!((a.in_flight, a.queued), (1, 1));
    assert_eq!((handle.total().in_flight, handle.total().queued), (3, 1));
    assert!(handle.origin(&"http://c.test".parse().unwrap()).is_none());
}

#[tokio::test(start_paused = true)]
async fn every_spelling_of_an_address_is_one_origin() {
    let (mut service, mut peer) = over_mock(limit(1));
    let _a = start(&mut service, "http://[0:0::1]:8080/");
    let _b = start(&mut service, "http://[::1]:8080/");
    assert!(arrived(&mut peer).is_some());
    assert!(arrived(&mut peer).is_none());
    assert_eq!(service.handle().origins().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn requests_without_an_origin_share_a_limit() {
    let (mut service, mut peer) = over_mock(limit(1));
    let _a = start(&mut service, "/billing.Invoices/List");
    let _b = start(&mut service, "/billing.Invoices/Get");
    assert!(arrived(&mut peer).is_some());
    assert!(arrived(&mut peer).is_none());
    let unkeyed = service.handle().unkeyed();
    assert_eq!((unkeyed.in_flight, unkeyed.queued), (1, 1));
    assert!(service.handle().origins().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_custom_key_tells_limits_apart() {
    let by_path = |request: &common::Req| request.uri().path().to_owned();
    let (mut service, mut peer) = over_mock(PoolLimitLayer::per_key(1, by_path).unwrap());
    let _x = start(&mut service, "http://a.test/x");
    let _y = start(&mut service, "http://b.test/y");
    let _x2 = start(&mut service, "http://b.test/x");
    assert!(arrived(&mut peer).is_some() && arrived(&mut peer).is_some());
    assert!(arrived(&mut peer).is_none());
    let handle = service.handle();
    assert_eq!(handle.key(&"/x".to_owned()).unwrap().queued, 1);
    assert_eq!(handle.keys().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_limit_for_the_whole_service_is_shared_by_its_clones() {
    let (mut service, mut peer) = over_mock(PoolLimitLayer::whole_service(1).unwrap());
    let mut clone = service.clone();
    let _a = start(&mut service, "http://a.test");
    let _b = start(&mut clone, "http://b.test");
    assert!(arrived(&mut peer).is_some());
    assert!(arrived(&mut peer).is_none());
    let handle: PoolLimitHandle<WholeService> = service.handle();
    assert_eq!(handle.total(), handle.unkeyed());
}

#[tokio::test(start_paused = true)]
async fn each_service_that_a_layer_makes_has_limits_of_its_own() {
    let layer = limit(1);
    let (mut one, mut peer_of_one) = over_mock(layer.clone());
    let (mut other, mut peer_of_other) = over_mock(layer);
    let _a = start(&mut one, A);
    let _b = start(&mut other, A);
    assert!(arrived(&mut peer_of_one).is_some() && arrived(&mut peer_of_other).is_some());
}

#[tokio::test(start_paused = true)]
async fn origins_that_nobody_uses_are_forgotten_and_their_totals_kept() {
    let service = tower::Layer::layer(
        &limit(1),
        service_fn(|_: common::Req| async { Ok::<_, BoxError>(empty()) }),
    );
    let (mut used, _peer) = (service.clone(), ());
    for i in 0..10_000 {
        let _response = used
            .call(get(&format!("http://host-{i}.test")))
            .await
            .unwrap();
        assert!(service.handle().origins().len() <= 64);
    }
    let total = service.handle().total();
    assert_eq!(
        (total.totals.demands, total.totals.granted),
        (10_000, 10_000)
    );
    assert_idle(&total);
}

#[tokio::test(start_paused = true)]
async fn origins_in_use_are_never_forgotten() {
    let (mut service, mut peer) = over_mock(limit(1));
    let calls: Vec<_> = (0..1000)
        .map(|i| start(&mut service, &format!("http://host-{i}.test")))
        .collect();
    assert_eq!(service.handle().origins().len(), 1000);
    let _second = start(&mut service, "http://host-0.test");
    let mut reached = 0;
    while arrived(&mut peer).is_some() {
        reached += 1;
        // Or tokio's cooperative budget ends the loop.
        tokio::task::yield_now().await;
    }
    assert_eq!((reached, calls.len()), (1000, 1000));
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
async fn lowering_the_limit_takes_effect_as_places_are_given_back() {
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
async fn closing_refuses_those_who_wait_and_those_who_come() {
    let (mut service, mut peer) = over_mock(limit(1));
    let mut running = start(&mut service, A);
    let mut waiting = start(&mut service, A);
    advance(ms(40)).await;
    service.handle().close();
    assert!(waiting.is_woken());
    let error = assert_ready_err!(waiting.poll());
    let closed: &Closed = error.downcast_ref().unwrap();
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
        assert!(error.is::<Closed>(), "{uri}");
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
async fn draining_ends_at_its_deadline_and_says_what_is_left() {
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

#[tokio::test(start_paused = true)]
async fn a_custom_response_is_served_with_release_at_head() {
    let layer = limit(1).release_at_head();
    let service = tower::Layer::layer(
        &layer,
        service_fn(|_: http::Uri| async { Ok::<_, BoxError>("not HTTP at all") }),
    );
    let answer = service.oneshot(http::Uri::from_static(A)).await.unwrap();
    assert_eq!(answer, "not HTTP at all");
}
