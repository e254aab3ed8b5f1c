//! The column of axum: the stack is the state of a handler, which streams the upstream's answer on.

use std::num::NonZeroUsize;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
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

/// What the handler calls: a type that can be named, cheap to clone.
type Outbound = QueueMetrics<PoolLimit<KeepAlive>>;

#[derive(Clone)]
struct App {
    outbound: Outbound,
    upstream: Uri,
}

async fn forward(State(app): State<App>, mut request: Request) -> Response {
    *request.uri_mut() = app.upstream;
    match app.outbound.oneshot(request).await {
        Ok(response) => response.map(Body::new),
        Err(error) if find::<ConnectTimedOut>(&*error).is_some() => {
            StatusCode::GATEWAY_TIMEOUT.into_response()
        }
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

struct Options {
    metrics: QueueMetricsLayer,
    requests: usize,
    connections: usize,
    budget: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            metrics: QueueMetricsLayer::new("billing"),
            requests: CALLS,
            connections: CALLS,
            budget: Duration::from_secs(5),
        }
    }
}

impl Options {
    fn router(self, names: &Names, upstream: &str) -> Router {
        let connections = NonZeroUsize::new(self.connections).unwrap();
        let outbound = ServiceBuilder::new()
            .layer(self.metrics)
            .layer(PoolLimitLayer::per_origin(self.requests).unwrap())
            .layer(KeepAliveLayer::new().max_connections_per_origin(connections))
            .layer(ConnectTimeoutLayer::new(self.budget))
            .layer(DialLayer::new())
            .service(names.cached());
        let upstream = upstream.parse().unwrap();
        Router::new()
            .fallback(forward)
            .with_state(App { outbound, upstream })
    }
}

async fn fetch_all(options: Options, names: &Names, upstream: &Plain) {
    let router = options.router(names, &by_name(upstream));
    at_once(CALLS, || async {
        let response = router
            .clone()
            .oneshot(Request::new(Body::empty()))
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "ok");
    })
    .await;
    assert_eq!(upstream.stats().requests, CALLS);
}

#[tokio::test]
async fn pool_limit_holds_its_cap_across_handlers() {
    let (upstream, names) = (slow().await, Names::start().await);
    let options = Options {
        requests: LIMIT,
        ..Options::default()
    };
    fetch_all(options, &names, &upstream).await;
    assert_eq!(upstream.stats().peak_in_flight, LIMIT);
}

#[tokio::test]
async fn keep_alive_shares_its_connections_between_handlers() {
    let (upstream, names) = (slow().await, Names::start().await);
    let options = Options {
        connections: LIMIT,
        ..Options::default()
    };
    fetch_all(options, &names, &upstream).await;
    let seen = upstream.stats();
    assert_eq!((seen.peak_live, seen.accepted), (LIMIT, LIMIT));
}

#[tokio::test]
async fn cached_dns_asks_once_for_forty_dials() {
    let (upstream, names) = (closing().await, Names::start().await);
    fetch_all(Options::default(), &names, &upstream).await;
    assert_eq!((upstream.stats().accepted, names.queries()), (CALLS, 1));
}

#[tokio::test(start_paused = true)]
async fn connect_timeout_answers_504_at_its_budget() {
    let (hole, names) = (Hole::start([127, 0, 0, 1]).await, Names::start().await);
    let options = Options {
        budget: BUDGET,
        ..Options::default()
    };
    let router = options.router(&names, &format!("http://{}/", hole.addr()));
    let started = Instant::now();
    let response = router.oneshot(Request::new(Body::empty())).await.unwrap();
    assert_eq!(
        (response.status(), started.elapsed()),
        (StatusCode::GATEWAY_TIMEOUT, BUDGET)
    );
}

#[tokio::test]
async fn queue_metrics_counts_requests_to_the_answers_end() {
    let (upstream, names) = (slow().await, Names::start().await);
    let options = Options::default();
    let metrics = options.metrics.clone();
    fetch_all(options, &names, &upstream).await;
    assert_emitted(&metrics, CALLS);
}
