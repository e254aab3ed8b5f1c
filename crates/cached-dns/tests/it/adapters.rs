//! The cache in other people's clients.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tollgate_testing::{Reply, Upstream};

use crate::common::*;

// Fault 27.
#[tokio::test]
async fn hyper_util_s_connector_resolves_through_it() {
    let upstream = Upstream::start(|_| Reply::ok("hello")).await;
    let backend = Backend::steady(millis(0), 60, &["127.0.0.1"]);
    let connector = HttpConnector::new_with_resolver(backend.cached());
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build::<_, Empty<Bytes>>(connector);
    for _ in 0..3 {
        let uri = format!("http://api.test:{}/", upstream.addr().port());
        let response = client.get(uri.parse().unwrap()).await.unwrap();
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes(), "hello");
    }
    assert_eq!(backend.calls(), 1);
    assert_eq!(upstream.accepted(), 3);
}

// Fault 27.
#[cfg(feature = "reqwest")]
#[tokio::test]
async fn reqwest_resolves_through_it() {
    let upstream = Upstream::start(|_| Reply::ok("hello")).await;
    let backend = Backend::steady(millis(0), 60, &["127.0.0.1"]);
    let client = reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .dns_resolver(backend.cached())
        .build()
        .unwrap();
    for _ in 0..3 {
        let url = format!("http://api.test:{}/", upstream.addr().port());
        let response = client.get(url).send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "hello");
    }
    assert_eq!(backend.calls(), 1);

    let silent = Backend::new(|_, _| async { std::future::pending().await });
    let client = reqwest::Client::builder()
        .no_proxy()
        .dns_resolver(silent.cached_with(|layer| layer.lookup_timeout(millis(50))))
        .build()
        .unwrap();
    let error = client.get("http://api.test/").send().await.unwrap_err();
    assert!(
        error.is_timeout(),
        "reqwest knows it for a time-out: {error:?}"
    );
}

#[cfg(feature = "serde")]
#[tokio::test]
async fn a_snapshot_can_be_shown_as_json() {
    let dns = Backend::steady(millis(0), 60, &["127.0.0.1"]).cached();
    lookup(&dns, "a.test").await.unwrap();
    let json = serde_json::to_value(dns.handle().snapshot()).unwrap();
    assert_eq!(json[0]["name"], "a.test");
    assert_eq!(json[0]["state"], "fresh");
    assert_eq!(json[0]["addrs"][0]["addr"], "127.0.0.1:0");
    let stats = serde_json::to_value(dns.handle().stats()).unwrap();
    assert_eq!(stats["queries"], 1);
}
