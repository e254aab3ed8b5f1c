use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::*;
use crate::Connector;

#[tokio::test]
async fn a_burst_of_clients_is_served_and_counted() {
    let upstream = Plain::builder()
        .latency(Duration::from_millis(5))
        .body("hello")
        .start()
        .await;
    let client = Client::builder(TokioExecutor::new())
        .build::<_, Full<Bytes>>(Connector::tcp(upstream.addr()));
    let requests = (0..64).map(|_| {
        let (client, uri) = (client.clone(), upstream.uri("/"));
        tokio::spawn(async move {
            for _ in 0..4 {
                let response = client.get(uri.clone()).await.unwrap();
                let body = response.into_body().collect().await.unwrap();
                assert_eq!(body.to_bytes(), "hello");
            }
        })
    });
    for request in requests.collect::<Vec<_>>() {
        request.await.unwrap();
    }
    let stats = upstream.stats();
    assert_eq!((stats.requests, stats.in_flight), (256, 0));
    assert!(stats.peak_live >= 2 && stats.peak_live <= stats.accepted);
    drop(client);
    upstream.settled(|stats| stats.live == 0).await;
}

#[tokio::test]
async fn each_request_reconnects_without_keep_alive() {
    let upstream = Plain::builder().keep_alive(false).start().await;
    let client = Client::builder(TokioExecutor::new())
        .build::<_, Full<Bytes>>(Connector::tcp(upstream.addr()));
    for _ in 0..3 {
        let response = client.get(upstream.uri("/")).await.unwrap();
        drop(response.into_body().collect().await.unwrap());
    }
    assert_eq!(upstream.stats().accepted, 3);
    upstream.settled(|stats| stats.live == 0).await;
}
