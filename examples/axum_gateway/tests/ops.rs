//! What operators read.

use http_body_util::BodyExt;
use tollgate::Client;
use tollgate_testing::{Reply, Upstream};

use super::support::serve;
use crate::ops::Metrics;

#[tokio::test]
async fn metrics_and_stats_pages_show_the_pool() {
    let metrics = Metrics::install().unwrap();
    let client = Client::builder().observer(metrics.pool.clone());
    let client = client.build().unwrap();
    let ops = serve(metrics.router(client.clone())).await;
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let response = client.get(upstream.uri("/")).await.unwrap();
    response.into_body().collect().await.unwrap();

    let (kind, page) = fetch(&format!("{ops}metrics")).await;
    assert!(kind.starts_with("text/plain"), "{kind}");
    for line in [
        "http_client_queued_requests{",
        "http_client_open_connections{",
    ] {
        assert!(page.contains(line), "{line}:\n{page}");
    }
    let (kind, stats) = fetch(&format!("{ops}stats")).await;
    assert_eq!(kind, "application/json");
    let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
    assert_eq!(stats["origins"][0]["opened"], 1);
    assert_eq!(stats["origins"][0]["queued"], 0);
}

async fn fetch(from: &str) -> (String, String) {
    let response = Client::new().get(from).await.unwrap();
    assert_eq!(response.status(), 200);
    let kind = response.headers()["content-type"].to_str().unwrap();
    let kind = kind.to_owned();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (kind, String::from_utf8(body.to_vec()).unwrap())
}
