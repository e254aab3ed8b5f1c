//! The stack by hand: every layer a plain Tower layer, in the order in which a request meets them.
//!
//! It starts an upstream of its own, sends a few requests and prints what the pool did.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use tollgate::tls::TlsOptions;
use tollgate_cached_dns::{CachedDnsLayer, Gai};
use tollgate_connect_timeout::ConnectTimeoutLayer;
use tollgate_dial::DialLayer;
use tollgate_keep_alive::KeepAliveLayer;
use tollgate_pool_limit::PoolLimitLayer;
use tollgate_queue_metrics::QueueMetricsLayer;
use tollgate_testing::Plain;
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_http::trace::TraceLayer;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let upstream = Plain::builder().body("hello").start().await;
    let uri: http::Uri = format!("http://localhost:{}/", upstream.addr().port()).parse()?;

    let client = ServiceBuilder::new()
        // Requests.
        .layer(TraceLayer::new_for_http())
        .layer(QueueMetricsLayer::new("billing"))
        .layer(PoolLimitLayer::per_origin(64)?)
        .layer(KeepAliveLayer::new())
        // Connections.
        .layer(ConnectTimeoutLayer::new(Duration::from_secs(5)))
        .layer(TlsOptions::default().layer()?)
        .layer(DialLayer::new())
        // Names.
        .layer(CachedDnsLayer::new())
        .service(Gai::new());

    for _ in 0..3 {
        let request = http::Request::get(&uri).body(Empty::<Bytes>::new())?;
        let response = client.clone().oneshot(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        writeln!(
            std::io::stdout(),
            "{status} {}",
            String::from_utf8_lossy(&body)
        )?;
    }
    let stats = upstream.stats();
    writeln!(
        std::io::stdout(),
        "{} requests on {} connection",
        stats.requests,
        stats.accepted
    )?;
    Ok(())
}
