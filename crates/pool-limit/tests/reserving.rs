//! The mode in which readiness is a place, under tower's layers that act on readiness.
#![expect(clippy::unwrap_used, reason = "helpers of tests, too")]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use common::{Handle, Mock, Req, Script, arrived, assert_idle, get, ms, over_mock, start};
use http::Response;
use tokio::task::JoinSet;
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tollgate_core::{BoxError, Event, Observer};
use tollgate_pool_limit::{Closed, PoolLimitLayer, ReservingPoolLimit, ReservingPoolLimitLayer};
use tower::balance::p2c::Balance;
use tower::buffer::Buffer;
use tower::discover::ServiceList;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::load::Constant;
use tower::load_shed::LoadShedLayer;
use tower::load_shed::error::Overloaded;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

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

/// A shed request that keeps its clone must not keep a place: tower's does, and the next caller is
/// shed with nothing in flight.
#[tokio::test]
async fn what_load_shed_refuses_leaves_no_place_taken() {
    let tower = GlobalConcurrencyLimitLayer::new(1);
    assert!(
        next_is_shed_with_nothing_in_flight(&tower),
        "the trap is gone from tower"
    );
    assert!(!next_is_shed_with_nothing_in_flight(&without_queue(1)));
}

fn next_is_shed_with_nothing_in_flight<L>(layer: &L) -> bool
where
    L: Layer<Mock>,
    L::Service: Service<Req, Error = BoxError> + Clone,
{
    let (service, peer): (_, Handle) = over_mock(layer);
    let shedding = LoadShedLayer::new().layer(service);
    let mut holder = shedding.clone();
    let call = start(&mut holder, A);

    let mut long_lived = shedding.clone();
    assert_ready_ok!(ready(&mut long_lived));
    let shed = task::spawn(long_lived.call(get(A))).poll();
    assert!(matches!(shed, Poll::Ready(Err(error)) if error.is::<Overloaded>()));

    drop(call);
    let mut next = shedding.clone();
    assert_ready_ok!(ready(&mut next));
    let outcome = task::spawn(next.call(get(A))).poll();
    drop((long_lived, peer));
    outcome.is_ready()
}

/// A service that takes a while, and how many calls ran in it at once.
fn busy(
    peak: Arc<AtomicUsize>,
) -> impl Service<
    Req,
    Response = Response<Script>,
    Error = BoxError,
    Future = impl Future<Output = Result<Response<Script>, BoxError>> + Send,
> + Clone
+ Send {
    let running = Arc::new(AtomicUsize::new(0));
    service_fn(move |_| {
        let (running, peak) = (Arc::clone(&running), Arc::clone(&peak));
        async move {
            peak.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(ms(10)).await;
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(Response::new(Script::empty()))
        }
    })
}

async fn run_all<S>(service: S, n: usize)
where
    S: Service<Req, Response: Send, Error: Into<BoxError> + Send + std::fmt::Debug>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let mut tasks = JoinSet::new();
    for _ in 0..n {
        let service = service.clone();
        tasks.spawn(async move { service.oneshot(get(A)).await.map(drop).map_err(Into::into) });
    }
    while let Some(result) = tasks.join_next().await {
        result
            .unwrap()
            .map_err(|error: BoxError| error.to_string())
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn under_a_buffer_all_are_served_within_the_limit() {
    let peak = Arc::<AtomicUsize>::default();
    let limited = reserving(3).layer(busy(Arc::clone(&peak)));
    let handle = limited.handle();
    run_all(Buffer::new(limited, 8), 40).await;
    assert_eq!(peak.load(Ordering::SeqCst), 3);
    // The buffer's worker may hold a place that it has reserved for the next.
    assert!(handle.total().in_flight <= 1);
}

#[tokio::test(start_paused = true)]
async fn under_a_balancer_work_goes_to_the_endpoint_that_has_a_place() {
    let peaks = [(); 2].map(|()| Arc::<AtomicUsize>::default());
    let endpoints = peaks
        .each_ref()
        .map(|peak| Constant::new(reserving(2).layer(busy(Arc::clone(peak))), 1));
    let balance = Balance::new(ServiceList::new::<Req>(endpoints));
    run_all(Buffer::new(balance, 8), 40).await;
    for peak in peaks {
        assert_eq!(peak.load(Ordering::SeqCst), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn under_load_shed_the_limit_decides_who_is_shed() {
    let peak = Arc::<AtomicUsize>::default();
    let limited = without_queue(2).layer(busy(Arc::clone(&peak)));
    let handle = limited.handle();
    let service = ServiceBuilder::new().load_shed().service(limited);
    let calls = (0..10).map(|_| service.clone().oneshot(get(A)));
    let outcomes = futures_util::future::join_all(calls).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 2);
    drop(outcomes);
    assert_idle(&handle.total());
    service.oneshot(get(A)).await.map(drop).unwrap();
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
