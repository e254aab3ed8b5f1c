//! reqwest with Tollgate's layers: cached DNS and a connect budget below it, a limit and metrics
//! above it. (reqwest owns its connection pool, so keep-alive has no place here.)
//!
//! It starts an upstream of its own, sends a burst and prints what came of it.

use std::io::Write;
use std::time::Duration;

use futures_util::future::try_join_all;
use tollgate_cached_dns::CachedDns;
use tollgate_connect_timeout::ConnectTimeoutLayer;
use tollgate_pool_limit::PoolLimitLayer;
use tollgate_queue_metrics::QueueMetricsLayer;
use tollgate_testing::Plain;
use tower::{BoxError, ServiceBuilder, ServiceExt};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let upstream = Plain::builder()
        .latency(Duration::from_millis(2))
        .start()
        .await;
    let url = format!("http://localhost:{}/", upstream.addr().port());

    let client = reqwest::Client::builder()
        .dns_resolver(CachedDns::gai())
        .connector_layer(ConnectTimeoutLayer::new(Duration::from_secs(5)))
        .build()?;
    let client = ServiceBuilder::new()
        // A reqwest response is no `http::Response`, so this one measures to the head.
        .layer(QueueMetricsLayer::new("billing").until_head())
        .layer(PoolLimitLayer::per_origin(8)?)
        .service(client);

    let calls = (0..200).map(|_| {
        let (client, url) = (client.clone(), &url);
        async move {
            let request = reqwest::Request::new(reqwest::Method::GET, url.parse()?);
            let response = client.oneshot(request).await?;
            // The place is held until here: the body's end, not the head.
            response.bytes().await?;
            Ok::<_, BoxError>(())
        }
    });
    try_join_all(calls).await?;
    let seen = upstream.stats();
    writeln!(
        std::io::stdout(),
        "{} requests, at most {} at once under a limit of 8",
        seen.requests,
        seen.peak_in_flight
    )?;
    Ok(())
}
