//! The column of reqwest.
//!
//! No keep-alive here: reqwest owns its connections. Its DNS resolver and its connector layers are
//! the places below, `reqwest::Client` as a service is the place above.

use std::time::Duration;

use reqwest::{Client, Method, Request};
use tokio::time::Instant;
use tollgate_connect_timeout::{ConnectTimedOut, ConnectTimeoutLayer};
use tollgate_core::error::find;
use tollgate_pool_limit::{PoolLimit, PoolLimitLayer};
use tollgate_queue_metrics::QueueMetricsLayer;
use tollgate_testing::{Hole, Plain};
use tower::{Layer, ServiceExt};

use crate::support::{
    BUDGET, CALLS, LIMIT, Names, assert_emitted, at_once, by_name, closing, slow,
};

fn client(names: &Names, budget: Duration) -> Client {
    Client::builder()
        .no_proxy()
        .dns_resolver(names.cached())
        .connector_layer(ConnectTimeoutLayer::new(budget))
        .build()
        .unwrap()
}

fn limited(names: &Names, limit: usize) -> PoolLimit<Client> {
    let client = client(names, Duration::from_secs(5));
    PoolLimitLayer::per_origin(limit).unwrap().layer(client)
}

async fn fetch_all<S, E>(client: &S, upstream: &Plain)
where
    S: tower::Service<Request, Error = E> + Clone,
    S::Response: Into<reqwest::Response>,
    E: std::fmt::Debug,
{
    let url = by_name(upstream);
    at_once(CALLS, || async {
        let request = Request::new(Method::GET, url.parse().unwrap());
        let response = client.clone().oneshot(request).await.unwrap();
        assert_eq!(response.into().bytes().await.unwrap(), "ok");
    })
    .await;
    assert_eq!(upstream.stats().requests, CALLS);
}

#[tokio::test]
async fn pool_limit_holds_its_cap_over_reqwest() {
    let (upstream, names) = (slow().await, Names::start().await);
    fetch_all(&limited(&names, LIMIT), &upstream).await;
    assert_eq!(upstream.stats().peak_in_flight, LIMIT);

    let upstream = slow().await;
    fetch_all(&client(&names, Duration::from_secs(5)), &upstream).await;
    assert!(upstream.stats().peak_in_flight > LIMIT);
}

#[tokio::test]
async fn cached_dns_asks_once_for_forty_dials() {
    let (upstream, names) = (closing().await, Names::start().await);
    fetch_all(&client(&names, Duration::from_secs(5)), &upstream).await;
    assert_eq!(names.queries(), 1);
    assert!(upstream.stats().accepted >= CALLS);
}

#[tokio::test(start_paused = true)]
async fn connect_timeout_ends_an_unanswered_connect_at_budget() {
    let (hole, names) = (Hole::start([127, 0, 0, 1]).await, Names::start().await);
    let client = client(&names, BUDGET);
    let started = Instant::now();
    let sent = client.get(format!("http://{}/", hole.addr())).send().await;
    assert_eq!(started.elapsed(), BUDGET);
    let error = sent.unwrap_err();
    assert!(error.is_timeout() && error.is_connect(), "{error:?}");
    assert!(find::<ConnectTimedOut>(&error).is_some(), "{error:?}");
}

#[tokio::test]
async fn queue_metrics_counts_each_request_to_its_head() {
    let (upstream, names) = (slow().await, Names::start().await);
    // A reqwest response is no `http::Response`: its body's end cannot be seen from here.
    let metrics = QueueMetricsLayer::new("billing").until_head();
    let stack = metrics.layer(limited(&names, LIMIT));
    fetch_all(&stack, &upstream).await;
    assert_emitted(&metrics, CALLS);
}
