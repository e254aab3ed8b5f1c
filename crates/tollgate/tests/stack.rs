//! The stack by hand, with every layer in the order of the design.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use tollgate::cached_dns::{CachedDnsLayer, Gai};
use tollgate::connect_timeout::ConnectTimeoutLayer;
use tollgate::dial::DialLayer;
use tollgate::keep_alive::KeepAliveLayer;
use tollgate::pool_limit::PoolLimitLayer;
use tollgate::queue_metrics::QueueMetricsLayer;
use tollgate::tls::TlsOptions;
use tollgate_testing::tls::{Authority, Server};
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_http::trace::TraceLayer;

#[tokio::test]
async fn stack_by_hand_answers_https_and_http() {
    let authority = Authority::new();
    let secure = Server::new(authority.issue("localhost")).start();
    let plain = tollgate_testing::Plain::builder().body("ok").start().await;
    let tls = TlsOptions::new().root_pem(authority.pem()).layer().unwrap();
    let tls = |dial| tls.layer(dial);

    let client = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(QueueMetricsLayer::new("billing"))
        .layer(PoolLimitLayer::per_origin(64).unwrap())
        .layer(KeepAliveLayer::new())
        .layer(ConnectTimeoutLayer::new(Duration::from_secs(5)))
        .layer_fn(tls)
        .layer(DialLayer::new())
        .layer(CachedDnsLayer::new())
        .service(Gai::new());

    let uris = [
        format!("https://localhost:{}/", secure.addr().port()),
        format!("http://localhost:{}/", plain.addr().port()),
    ];
    for uri in uris.iter().cycle().take(6) {
        let request = Request::get(uri).body(Empty::<Bytes>::new()).unwrap();
        let response = client.clone().oneshot(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "ok");
    }
    assert_eq!((secure.accepted(), plain.stats().accepted), (1, 1));
}
