//! hyper-util's legacy client with Tollgate's layers: dial, cached DNS and a connect budget as its
//! connector, a limit and metrics above it. (It owns its connection pool, so keep-alive has no place
//! here; `stack` shows the same with Tollgate's.)

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tollgate_cached_dns::CachedDns;
use tollgate_connect_timeout::ConnectTimeoutLayer;
use tollgate_dial::Dial;
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
    let uri: http::Uri = format!("http://localhost:{}/", upstream.addr().port()).parse()?;

    let connector = ServiceBuilder::new()
        .layer(ConnectTimeoutLayer::new(Duration::from_secs(5)))
        .service(Dial::new(CachedDns::gai()));
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let client = ServiceBuilder::new()
        .layer(QueueMetricsLayer::new("billing"))
        .layer(PoolLimitLayer::per_origin(8)?)
        .service(client);

    let calls = (0..200).map(|_| {
        let (client, uri) = (client.clone(), &uri);
        async move {
            let request = http::Request::get(uri).body(Empty::new())?;
            let response = client.oneshot(request).await?;
            response.into_body().collect().await?;
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
