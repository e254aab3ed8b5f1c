//! The mode in which readiness is a place, under tower's layers that act on readiness.
#![expect(clippy::unwrap_used, reason = "helpers of tests, too")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use common::{
    Handle, Mock, Req, Script, assert_idle, get, ms, over_mock, ready, reserving, start,
    without_queue,
};
use http::Response;
use tokio::task::JoinSet;
use tokio_test::{assert_ready_ok, task};
use tollgate_core::BoxError;
use tower::balance::p2c::Balance;
use tower::buffer::Buffer;
use tower::discover::ServiceList;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::load::Constant;
use tower::load_shed::LoadShedLayer;
use tower::load_shed::error::Overloaded;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

const A: &str = "http://a.test";

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
async fn a_buffer_serves_all_within_the_limit() {
    let peak = Arc::<AtomicUsize>::default();
    let limited = reserving(3).layer(busy(Arc::clone(&peak)));
    let handle = limited.handle();
    run_all(Buffer::new(limited, 8), 40).await;
    assert_eq!(peak.load(Ordering::SeqCst), 3);
    // The buffer's worker may hold a place that it has reserved for the next.
    assert!(handle.total().in_flight <= 1);
}

#[tokio::test(start_paused = true)]
async fn a_balancer_picks_endpoints_with_a_place() {
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
async fn load_shed_refuses_what_exceeds_the_limit() {
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
