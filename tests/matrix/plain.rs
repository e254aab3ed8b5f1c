//! The column of a plain `ServiceBuilder`: all five layers and the dialler in one stack, by hand.

use std::num::NonZeroUsize;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use tokio::time::Instant;
use tollgate_connect_timeout::{ConnectTimedOut, ConnectTimeoutLayer};
use tollgate_core::error::find;
use tollgate_dial::DialLayer;
use tollgate_keep_alive::{KeepAlive, KeepAliveLayer};
use tollgate_pool_limit::{PoolLimit, PoolLimitLayer};
use tollgate_queue_metrics::{QueueMetrics, QueueMetricsLayer};
use tollgate_testing::{Hole, Plain};
use tower::{ServiceBuilder, ServiceExt};

use crate::support::{
    BUDGET, CALLS, LIMIT, Names, assert_emitted, at_once, by_name, closing, slow,
};

type Stack = QueueMetrics<PoolLimit<KeepAlive>>;

struct Options {
    metrics: QueueMetricsLayer,
    requests: usize,
    keep_alive: KeepAliveLayer,
    budget: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            metrics: QueueMetricsLayer::new("billing"),
            requests: CALLS,
            keep_alive: KeepAliveLayer::new(),
            budget: Duration::from_secs(5),
        }
    }
}

impl Options {
    fn stack(self, names: &Names) -> Stack {
        ServiceBuilder::new()
            .layer(self.metrics)
            .layer(PoolLimitLayer::per_origin(self.requests).unwrap())
            .layer(self.keep_alive)
            .layer(ConnectTimeoutLayer::new(self.budget))
            .layer(DialLayer::new())
            .service(names.cached())
    }
}

async fn fetch(stack: &Stack, uri: &str) {
    let request = Request::get(uri).body(Empty::<Bytes>::new()).unwrap();
    let response = stack.clone().oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "ok");
}

async fn fetch_all(stack: &Stack, upstream: &Plain) {
    let uri = by_name(upstream);
    at_once(CALLS, || fetch(stack, &uri)).await;
    assert_eq!(upstream.stats().requests, CALLS);
}

#[tokio::test]
async fn pool_limit_holds_its_cap_over_the_pool() {
    let (upstream, names) = (slow().await, Names::start().await);
    let options = Options {
        requests: LIMIT,
        ..Options::default()
    };
    fetch_all(&options.stack(&names), &upstream).await;
    assert_eq!(upstream.stats().peak_in_flight, LIMIT);
}

#[tokio::test]
async fn keep_alive_holds_cap_and_reuses_connections() {
    let (upstream, names) = (slow().await, Names::start().await);
    let cap = NonZeroUsize::new(LIMIT).unwrap();
    let options = Options {
        keep_alive: KeepAliveLayer::new().max_connections_per_origin(cap),
        ..Options::default()
    };
    fetch_all(&options.stack(&names), &upstream).await;
    let seen = upstream.stats();
    assert_eq!((seen.peak_live, seen.accepted), (LIMIT, LIMIT));
}

#[tokio::test]
async fn cached_dns_asks_once_for_forty_dials() {
    let (upstream, names) = (closing().await, Names::start().await);
    fetch_all(&Options::default().stack(&names), &upstream).await;
    assert_eq!((upstream.stats().accepted, names.queries()), (CALLS, 1));
}

#[tokio::test(start_paused = true)]
async fn connect_timeout_ends_an_unanswered_connect_at_budget() {
    let (hole, names) = (Hole::start([127, 0, 0, 1]).await, Names::start().await);
    let options = Options {
        budget: BUDGET,
        ..Options::default()
    };
    let stack = options.stack(&names);
    let request = Request::get(format!("http://{}/", hole.addr()));
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let started = Instant::now();
    let error = stack.oneshot(request).await.err().unwrap();
    assert_eq!(started.elapsed(), BUDGET);
    assert!(find::<ConnectTimedOut>(&*error).is_some(), "{error:?}");
}

#[tokio::test]
async fn queue_metrics_counts_requests_to_their_bodys_end() {
    let (upstream, names) = (slow().await, Names::start().await);
    let options = Options::default();
    let metrics = options.metrics.clone();
    let stack = options.stack(&names);
    fetch_all(&stack, &upstream).await;
    assert_emitted(&metrics, CALLS);

    let request = Request::get(by_name(&upstream));
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let unread = stack.oneshot(request).await.unwrap();
    assert_eq!(metrics.snapshot().in_flight, 1);
    drop(unread);
    assert_eq!(metrics.snapshot().in_flight, 0);
}
