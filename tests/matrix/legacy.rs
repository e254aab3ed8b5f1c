//! The column of hyper-util's legacy client.
//!
//! No keep-alive here: the client owns its connections. Where Tollgate's pool is wanted, it takes the
//! client's place: the column `plain`.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::time::Instant;
use tollgate_cached_dns::{CachedDns, Hickory};
use tollgate_connect_timeout::{ConnectTimedOut, ConnectTimeout, ConnectTimeoutLayer};
use tollgate_core::error::find;
use tollgate_dial::Dial;
use tollgate_pool_limit::{PoolLimit, PoolLimitLayer};
use tollgate_queue_metrics::{QueueMetrics, QueueMetricsLayer};
use tollgate_testing::{Hole, Plain};
use tower::{ServiceBuilder, ServiceExt};

use crate::support::{
    BUDGET, CALLS, LIMIT, Names, assert_emitted, at_once, by_name, closing, slow,
};

type Legacy = Client<ConnectTimeout<Dial<CachedDns<Hickory>>>, Empty<Bytes>>;
type Stack = QueueMetrics<PoolLimit<Legacy>>;

/// Three layers above the client, two below.
fn stack(names: &Names, metrics: &QueueMetricsLayer, limit: usize, budget: Duration) -> Stack {
    let connector = ServiceBuilder::new()
        .layer(ConnectTimeoutLayer::new(budget))
        .service(Dial::new(names.cached()));
    ServiceBuilder::new()
        .layer(metrics.clone())
        .layer(PoolLimitLayer::per_origin(limit).unwrap())
        .service(Client::builder(TokioExecutor::new()).build(connector))
}

fn unlimited(names: &Names) -> Stack {
    let metrics = QueueMetricsLayer::new("billing");
    stack(names, &metrics, CALLS, Duration::from_secs(5))
}

async fn fetch_all(stack: &Stack, upstream: &Plain) {
    let uri = by_name(upstream);
    at_once(CALLS, || async {
        let request = Request::get(&uri).body(Empty::new()).unwrap();
        let response = stack.clone().oneshot(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "ok");
    })
    .await;
    assert_eq!(upstream.stats().requests, CALLS);
}

#[tokio::test]
async fn pool_limit_holds_its_cap_over_legacy_client() {
    let (upstream, names) = (slow().await, Names::start().await);
    let metrics = QueueMetricsLayer::new("billing");
    let limited = stack(&names, &metrics, LIMIT, Duration::from_secs(5));
    fetch_all(&limited, &upstream).await;
    assert_eq!(upstream.stats().peak_in_flight, LIMIT);

    // The client alone opens a connection for each.
    let upstream = slow().await;
    fetch_all(&unlimited(&names), &upstream).await;
    assert!(upstream.stats().peak_in_flight > LIMIT);
}

#[tokio::test]
async fn cached_dns_asks_once_for_forty_dials() {
    let (upstream, names) = (closing().await, Names::start().await);
    fetch_all(&unlimited(&names), &upstream).await;
    assert_eq!(names.queries(), 1);
    assert!(upstream.stats().accepted >= CALLS);
}

#[tokio::test(start_paused = true)]
async fn connect_timeout_ends_an_unanswered_connect_at_budget() {
    let (hole, names) = (Hole::start([127, 0, 0, 1]).await, Names::start().await);
    let metrics = QueueMetricsLayer::new("billing");
    let stack = stack(&names, &metrics, CALLS, BUDGET);
    let request = Request::get(format!("http://{}/", hole.addr()));
    let request = request.body(Empty::new()).unwrap();
    let started = Instant::now();
    let error = stack.oneshot(request).await.err().unwrap();
    assert_eq!(started.elapsed(), BUDGET);
    assert!(find::<ConnectTimedOut>(&*error).is_some(), "{error:?}");
    let error = find::<hyper_util::client::legacy::Error>(&*error).unwrap();
    assert!(error.is_connect());
}

#[tokio::test]
async fn queue_metrics_counts_requests_to_their_bodys_end() {
    let (upstream, names) = (slow().await, Names::start().await);
    let metrics = QueueMetricsLayer::new("billing");
    let stack = stack(&names, &metrics, LIMIT, Duration::from_secs(5));
    fetch_all(&stack, &upstream).await;
    assert_emitted(&metrics, CALLS);
}
