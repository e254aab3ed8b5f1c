//! tower's `Buffer`.

use std::num::NonZeroUsize;

use http::Uri;
use tokio::time::Instant;
use tollgate_cached_dns::CachedDns;
use tollgate_connect_timeout::{ConnectTimedOut, ConnectTimeoutLayer};
use tollgate_core::error::find;
use tollgate_core::{BoxError, Phase};
use tollgate_dial::Dial;
use tollgate_keep_alive::KeepAliveLayer;
use tollgate_pool_limit::PoolLimitLayer;
use tollgate_queue_metrics::QueueMetricsLayer;
use tollgate_testing::{Hole, Plain, Reply, Upstream};
use tower::buffer::Buffer;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::{Layer, ServiceExt};

use crate::support::{BUDGET, CALLS, WORK, Work, all_go_well, connector, warm, worker};

#[tokio::test(start_paused = true)]
async fn pool_limit_below_buffer_serves_all_within_limit() {
    let work = Work::default();
    let limit = PoolLimitLayer::whole_service(4)
        .unwrap()
        .reserve_in_poll_ready();
    let started = Instant::now();
    all_go_well(&Buffer::new(limit.layer(worker([&work])), 8)).await;
    assert_eq!((work.peak(), work.calls()), (4, CALLS));
    assert_eq!(started.elapsed(), WORK * 10, "never fewer than the limit");
}

#[tokio::test(start_paused = true)]
async fn pool_limit_above_buffer_admits_only_its_limit() {
    let work = Work::default();
    let service = PoolLimitLayer::whole_service(4).unwrap();
    let service = service.layer(Buffer::new(worker([&work]), 8));
    let started = Instant::now();
    all_go_well(&service).await;
    assert_eq!((work.peak(), work.calls()), (4, CALLS));
    assert_eq!(started.elapsed(), WORK * 10, "never fewer than the limit");
    let total = service.handle().total();
    assert_eq!((total.in_flight, total.queued), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn queue_metrics_below_buffer_count_calls_once() {
    let (work, metrics) = (Work::default(), QueueMetricsLayer::new("billing"));
    let limited = GlobalConcurrencyLimitLayer::new(4).layer(worker([&work]));
    all_go_well(&Buffer::new(metrics.layer(limited), 8)).await;
    let seen = metrics.snapshot();
    assert_eq!((seen.ok, seen.error, seen.cancelled), (40, 0, 0));
    assert_eq!((seen.in_flight, seen.queued), (0, 0));
}

/// Forty at once over a buffer of one and a limit of four: most wait in `poll_ready`, and that is what
/// is measured.
#[tokio::test(start_paused = true)]
async fn queue_metrics_above_buffer_measure_its_backpressure() {
    let (work, metrics) = (Work::default(), QueueMetricsLayer::new("billing"));
    let limited = GlobalConcurrencyLimitLayer::new(4).layer(worker([&work]));
    all_go_well(&metrics.layer(Buffer::new(limited, 1))).await;
    let seen = metrics.snapshot();
    assert_eq!((seen.ok, seen.error, seen.cancelled), (40, 0, 0));
    assert_eq!((seen.in_flight, seen.queued), (0, 0));
    assert!(seen.queued_peak >= 30, "{seen:?}");
    assert!(seen.waits.sum > WORK * 3 * 40, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn connect_timeout_below_buffer_names_the_phase() {
    let hole = Hole::start([127, 0, 0, 1]).await;
    let dial = ConnectTimeoutLayer::new(BUDGET).layer(Dial::new(CachedDns::gai()));
    ends_at_the_budget(Buffer::new(dial, 8), &hole).await;
}

/// A buffer hands the future of a connect to its caller, who polls it, so that phases are told.
#[tokio::test(start_paused = true)]
async fn connect_timeout_above_buffer_names_the_phase() {
    let hole = Hole::start([127, 0, 0, 1]).await;
    let buffer = Buffer::new(Dial::new(CachedDns::gai()), 8);
    ends_at_the_budget(ConnectTimeoutLayer::new(BUDGET).layer(buffer), &hole).await;
}

async fn ends_at_the_budget<S>(service: S, hole: &Hole)
where
    S: tower::Service<Uri, Error = BoxError>,
{
    let uri: Uri = format!("http://{}/", hole.addr()).parse().unwrap();
    let started = Instant::now();
    let error = service.oneshot(uri).await.err().unwrap();
    assert_eq!(started.elapsed(), BUDGET);
    let late = find::<ConnectTimedOut>(&*error).unwrap();
    assert_eq!((late.phase(), late.total()), (Phase::Tcp, BUDGET));
    assert_eq!(late.attempts().len(), 1);
}

#[tokio::test]
async fn keep_alive_below_buffer_serves_all_within_cap() {
    let upstream = Plain::builder().latency(WORK / 5).start().await;
    let (client, service) = warm(&upstream, 4).await;
    all_go_well(&Buffer::new(service, 8)).await;
    let seen = upstream.stats();
    assert_eq!((seen.accepted, seen.requests), (4, CALLS));
    let origin = upstream.uri("/").to_string();
    tollgate_testing::eventually(|| {
        let stats = client.stats(&origin).unwrap();
        (stats.idle, stats.in_flight, stats.queued) == (4, 0, 0)
    })
    .await;
}

#[tokio::test]
async fn keep_alive_above_a_buffer_dials_through_it() {
    let upstream = Upstream::start(|_| Reply::ok("ok").after(WORK)).await;
    let pool = KeepAliveLayer::new()
        .max_connections_per_origin(NonZeroUsize::new(4).unwrap())
        .layer(Buffer::new(connector(&upstream), 1));
    all_go_well(&pool).await;
    assert_eq!((upstream.accepted(), upstream.requests().len()), (4, CALLS));
}
