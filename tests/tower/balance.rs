//! tower's `Balance`.

use futures_util::future::{join_all, poll_fn};
use http::Uri;
use tokio::time::Instant;
use tollgate_connect_timeout::{ConnectTimedOut, ConnectTimeoutLayer};
use tollgate_core::BoxError;
use tollgate_core::error::find;
use tollgate_keep_alive::KeepAliveLayer;
use tollgate_pool_limit::PoolLimitLayer;
use tollgate_queue_metrics::QueueMetricsLayer;
use tollgate_testing::{Plain, Reply, Upstream};
use tower::balance::p2c::Balance;
use tower::buffer::Buffer;
use tower::discover::ServiceList;
use tower::{Layer, Service};

use crate::support::{
    BUDGET, CALLS, Req, WORK, Work, all_go_well, call, connector, connects, endpoint, equal, uri,
    warm, worker,
};

#[tokio::test(start_paused = true)]
async fn pool_limit_below_balancer_steers_to_free_places() {
    let works = [Work::default(), Work::default()];
    let limit = PoolLimitLayer::whole_service(2).unwrap();
    let endpoints = works
        .each_ref()
        .map(|work| equal(limit.clone().reserve_in_poll_ready().layer(worker([work]))));
    let balance = Balance::new(ServiceList::new::<Req>(endpoints));
    all_go_well(&Buffer::new(balance, 8)).await;
    assert_eq!(works.each_ref().map(Work::peak), [2, 2]);
    assert_eq!(works[0].calls() + works[1].calls(), CALLS);
}

#[tokio::test(start_paused = true)]
async fn pool_limit_above_balancer_bounds_all_endpoints() {
    let (all, works) = (Work::default(), [Work::default(), Work::default()]);
    let endpoints = works.each_ref().map(|work| endpoint(worker([work, &all])));
    let balance = Balance::new(ServiceList::new::<Req>(endpoints));
    let limit = PoolLimitLayer::whole_service(4).unwrap();
    let service = limit.layer(Buffer::new(balance, 8));
    let started = Instant::now();
    all_go_well(&service).await;
    assert_eq!((all.peak(), all.calls()), (4, CALLS));
    assert_eq!(started.elapsed(), WORK * 10, "never fewer than the limit");
    assert_eq!(works.each_ref().map(Work::calls), [CALLS / 2; 2]);
    assert_eq!(service.handle().total().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn queue_metrics_below_balancer_count_each_endpoint() {
    let works = [Work::default(), Work::default()];
    let metrics = ["a", "b"].map(QueueMetricsLayer::new);
    let endpoints = [0, 1].map(|n| endpoint(metrics[n].layer(worker([&works[n]]))));
    let balance = Balance::new(ServiceList::new::<Req>(endpoints));
    all_go_well(&Buffer::new(balance, 8)).await;
    for (metrics, work) in metrics.iter().zip(&works) {
        let seen = metrics.snapshot();
        assert_eq!((seen.ok, seen.in_flight), (20, 0));
        assert_eq!(work.calls(), 20);
    }
}

#[tokio::test(start_paused = true)]
async fn queue_metrics_above_balancer_count_calls_once() {
    let works = [Work::default(), Work::default()];
    let endpoints = works.each_ref().map(|work| endpoint(worker([work])));
    let balance = Balance::new(ServiceList::new::<Req>(endpoints));
    let metrics = QueueMetricsLayer::new("billing");
    all_go_well(&metrics.layer(Buffer::new(balance, 8))).await;
    let seen = metrics.snapshot();
    assert_eq!((seen.ok, seen.error, seen.cancelled), (40, 0, 0));
    assert_eq!((seen.in_flight, seen.queued), (0, 0));
}

/// Twenty connects at once: as many as hang end at the budget, and as many succeed at once.
async fn half_connect<S>(mut service: S)
where
    S: Service<Uri, Response = ()>,
    S::Error: Into<BoxError>,
{
    let started = Instant::now();
    let mut connects = Vec::new();
    for _ in 0..20 {
        let ready = poll_fn(|cx| service.poll_ready(cx)).await;
        ready.map_err(Into::into).unwrap();
        connects.push(service.call(uri()));
    }
    let outcomes = join_all(connects.into_iter().map(|connect| async {
        let outcome = connect.await.map_err(Into::into);
        (started.elapsed(), outcome)
    }));
    let (mut connected, mut late) = (0, 0);
    for (after, outcome) in outcomes.await {
        match outcome {
            Ok(()) => {
                assert!(after.is_zero());
                connected += 1;
            }
            Err(error) => {
                assert_eq!(after, BUDGET);
                assert!(find::<ConnectTimedOut>(&*error).is_some(), "{error:?}");
                late += 1;
            }
        }
    }
    assert_eq!((connected, late), (10, 10));
}

#[tokio::test(start_paused = true)]
async fn connect_timeout_below_balancer_ends_hanging_connects() {
    let budget = ConnectTimeoutLayer::new(BUDGET);
    let endpoints = [true, false].map(|hangs| endpoint(budget.layer(connects(hangs))));
    half_connect(Balance::new(ServiceList::new::<Uri>(endpoints))).await;
}

#[tokio::test(start_paused = true)]
async fn connect_timeout_above_balancer_ends_hanging_connects() {
    let endpoints = [true, false].map(|hangs| endpoint(connects(hangs)));
    let balance = Balance::new(ServiceList::new::<Uri>(endpoints));
    half_connect(ConnectTimeoutLayer::new(BUDGET).layer(balance)).await;
}

#[tokio::test]
async fn keep_alive_below_balancer_steers_to_free_connections() {
    let slow = Plain::builder().latency(WORK * 20).start().await;
    let fast = Plain::builder().start().await;
    let (_, busy) = warm(&slow, 1).await;
    let (_, free) = warm(&fast, 1).await;
    let held = tokio::spawn(call(busy.clone()));
    slow.settled(|seen| seen.in_flight == 1).await;
    let mut balance = Balance::new(ServiceList::new::<Req>([busy, free].map(equal)));
    for _ in 0..20 {
        assert_eq!(call(&mut balance).await.unwrap(), "ok");
    }
    assert_eq!((slow.stats().requests, fast.stats().requests), (1, 20));
    assert_eq!(held.await.unwrap().unwrap(), "ok");
}

#[tokio::test]
async fn keep_alive_above_a_balancer_keeps_its_cap() {
    let upstreams = [
        Upstream::start(|_| Reply::ok("ok").after(WORK)).await,
        Upstream::start(|_| Reply::ok("ok").after(WORK)).await,
    ];
    let endpoints = upstreams.each_ref().map(|one| endpoint(connector(one)));
    let balance = Balance::new(ServiceList::new::<Uri>(endpoints));
    let pool = KeepAliveLayer::new()
        .max_connections_per_origin(std::num::NonZeroUsize::new(4).unwrap())
        .layer(Buffer::new(balance, 8));
    all_go_well(&pool).await;
    let accepted = upstreams.each_ref().map(Upstream::accepted);
    assert_eq!(accepted.iter().sum::<usize>(), 4, "{accepted:?}");
    let served: usize = upstreams.iter().map(|one| one.requests().len()).sum();
    assert_eq!(served, CALLS);
}
