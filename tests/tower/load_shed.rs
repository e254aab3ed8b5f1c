//! tower's `LoadShed`.

use std::num::NonZeroUsize;
use std::time::Duration;

use futures_util::future::join_all;
use http::Uri;
use tokio::time::Instant;
use tollgate_connect_timeout::{ConnectTimedOut, ConnectTimeoutLayer};
use tollgate_core::BoxError;
use tollgate_core::error::find;
use tollgate_keep_alive::KeepAliveLayer;
use tollgate_pool_limit::PoolLimitLayer;
use tollgate_queue_metrics::QueueMetricsLayer;
use tollgate_testing::{Plain, Reply, Upstream};
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::load_shed::LoadShed;
use tower::{Layer, Service, ServiceExt};

use crate::support::{
    BUDGET, CALLS, WORK, Work, all_go_well, at_once, call, connector, connects, served, uri, warm,
    worker,
};

#[tokio::test(start_paused = true)]
async fn pool_limit_below_load_shed_forgets_shed_requests() {
    let work = Work::default();
    let limit = PoolLimitLayer::whole_service(4).unwrap().no_queue();
    let limited = limit.reserve_in_poll_ready().layer(worker([&work]));
    let handle = limited.handle();
    let service = LoadShed::new(limited);
    for _ in 0..3 {
        assert_eq!(served(&at_once(&service).await), 4);
        let total = handle.total();
        assert_eq!((total.in_flight, total.queued), (0, 0));
    }
    assert_eq!((work.peak(), work.calls()), (4, 12));
}

#[tokio::test(start_paused = true)]
async fn pool_limit_above_load_shed_queues_the_excess() {
    let work = Work::default();
    let limited = GlobalConcurrencyLimitLayer::new(4).layer(worker([&work]));
    let shedding = LoadShed::new(limited);
    assert_eq!(served(&at_once(&shedding).await), 4);
    let limit = PoolLimitLayer::whole_service(4).unwrap();
    let service = limit.layer(shedding);
    all_go_well(&service).await;
    assert_eq!((work.peak(), work.calls()), (4, 4 + CALLS));
    assert_eq!(service.handle().total().in_flight, 0);
}

/// What was shed never became a call: it is counted as one that waited and left.
#[tokio::test(start_paused = true)]
async fn queue_metrics_below_load_shed_count_admitted_calls() {
    let (work, metrics) = (Work::default(), QueueMetricsLayer::new("billing"));
    let limited = GlobalConcurrencyLimitLayer::new(4).layer(worker([&work]));
    let service = LoadShed::new(metrics.layer(limited));
    assert_eq!(served(&at_once(&service).await), 4);
    drop(service);
    let seen = metrics.snapshot();
    assert_eq!(
        (seen.ok, seen.error, seen.cancelled),
        (4, 0, 36),
        "{seen:?}"
    );
    assert_eq!((seen.in_flight, seen.queued), (0, 0), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn queue_metrics_above_load_shed_count_shed_errors() {
    let (work, metrics) = (Work::default(), QueueMetricsLayer::new("billing"));
    let limited = GlobalConcurrencyLimitLayer::new(4).layer(worker([&work]));
    let service = metrics.layer(LoadShed::new(limited));
    assert_eq!(served(&at_once(&service).await), 4);
    let seen = metrics.snapshot();
    assert_eq!((seen.ok, seen.error, seen.cancelled), (4, 36, 0));
    assert_eq!((seen.in_flight, seen.queued), (0, 0));
}

/// Of ten connects that hang, four are let in and end at the budget, and six are shed at once.
async fn four_are_late_and_six_are_shed<S>(service: S)
where
    S: Service<Uri, Response = (), Error = BoxError> + Clone,
{
    let started = Instant::now();
    let outcomes = join_all((0..10).map(|_| async {
        let error = service.clone().oneshot(uri()).await.unwrap_err();
        let late = find::<ConnectTimedOut>(&*error).is_some();
        assert_eq!(
            started.elapsed(),
            if late { BUDGET } else { Duration::ZERO }
        );
        if late { Ok(()) } else { Err(error) }
    }));
    assert_eq!(served(&outcomes.await), 4);
}

#[tokio::test(start_paused = true)]
async fn connect_timeout_below_load_shed_frees_its_place() {
    let limited = GlobalConcurrencyLimitLayer::new(4).layer(connects(true));
    let service = LoadShed::new(ConnectTimeoutLayer::new(BUDGET).layer(limited));
    for _ in 0..2 {
        four_are_late_and_six_are_shed(service.clone()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn connect_timeout_above_load_shed_frees_its_place() {
    let limited = GlobalConcurrencyLimitLayer::new(4).layer(connects(true));
    let service = ConnectTimeoutLayer::new(BUDGET).layer(LoadShed::new(limited));
    for _ in 0..2 {
        four_are_late_and_six_are_shed(service.clone()).await;
    }
}

#[tokio::test]
async fn keep_alive_below_load_shed_leaves_no_waiter() {
    let upstream = Plain::builder().latency(WORK * 10).start().await;
    let (client, service) = warm(&upstream, 4).await;
    let service = LoadShed::new(service);
    assert_eq!(served(&at_once(&service).await), 4);
    let stats = client.stats(&upstream.uri("/").to_string()).unwrap();
    assert_eq!((stats.queued, stats.in_flight), (0, 0));
    assert_eq!(call(service).await.unwrap(), "ok");
    assert_eq!(upstream.stats().accepted, 4);
}

/// A dial that is shed is a dial that failed, so the pool is told how many there may be at once.
#[tokio::test]
async fn keep_alive_above_load_shed_dials_within_limit() {
    let upstream = Upstream::start(|_| Reply::ok("ok").after(WORK)).await;
    let dials = GlobalConcurrencyLimitLayer::new(2).layer(connector(&upstream));
    let two = NonZeroUsize::new(2).unwrap();
    let pool = KeepAliveLayer::new()
        .max_connections_per_origin(NonZeroUsize::new(8).unwrap())
        .max_connecting_per_origin(two)
        .layer(LoadShed::new(dials));
    all_go_well(&pool).await;
    assert_eq!(upstream.requests().len(), CALLS);
    assert!(upstream.accepted() <= 8);
}
