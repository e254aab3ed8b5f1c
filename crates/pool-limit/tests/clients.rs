//! Round the clients that keep their connections to themselves.
#![expect(clippy::unwrap_used, reason = "helpers of tests, too")]

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;
use tollgate_pool_limit::{PoolLimit, PoolLimitHandle, PoolLimitLayer};
use tollgate_testing::{DEADLINE, Gate, Reply, Upstream, within};
use tower::{Layer, ServiceExt};

type Legacy = Client<HttpConnector, Empty<Bytes>>;

const LIMIT: usize = 2;

fn limited<S>(client: S) -> PoolLimit<S> {
    PoolLimitLayer::per_origin(LIMIT).unwrap().layer(client)
}

async fn queued(handle: &PoolLimitHandle, n: usize) {
    within(DEADLINE, async {
        while handle.total().queued < n {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_legacy_client_stays_within_the_limit() {
    let gate = Gate::new();
    let wait = gate.clone();
    let upstream = Upstream::start(move |_| Reply::ok("paid").when(&wait)).await;
    let client: Legacy = Client::builder(TokioExecutor::new()).build_http();
    let client = limited(client);
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let (client, uri) = (client.clone(), upstream.uri("/"));
        tasks.spawn(async move {
            let request = Request::get(uri).body(Empty::new()).unwrap();
            let response = client.oneshot(request).await.unwrap();
            response.into_body().collect().await.unwrap().to_bytes()
        });
    }
    gate.reached(LIMIT).await;
    queued(&client.handle(), 6).await;
    assert_eq!((gate.arrivals(), upstream.requests().len()), (LIMIT, LIMIT));
    gate.open();
    while let Some(body) = tasks.join_next().await {
        assert_eq!(body.unwrap(), "paid");
    }
    let total = client.handle().total();
    assert_eq!((total.totals.granted, total.in_flight), (8, 0));
}

#[tokio::test]
async fn an_unread_legacy_body_holds_its_place() {
    let upstream = Upstream::start(|_| Reply::chunked().chunk("a").hold()).await;
    let client: Legacy = Client::builder(TokioExecutor::new()).build_http();
    let client = limited(client);
    let mut bodies = Vec::new();
    for _ in 0..LIMIT {
        let request = Request::get(upstream.uri("/")).body(Empty::new()).unwrap();
        bodies.push(client.clone().oneshot(request).await.unwrap());
    }
    let request = Request::get(upstream.uri("/")).body(Empty::new()).unwrap();
    let mut next = tokio_test::task::spawn(client.clone().oneshot(request));
    assert!(next.poll().is_pending());
    assert_eq!(client.handle().total().queued, 1);
    bodies.pop();
    assert!(next.is_woken());
    assert!(within(DEADLINE, next).await.is_ok());
}

#[cfg(feature = "reqwest")]
mod reqwest_client {
    use super::*;

    fn get(upstream: &Upstream, path: &str) -> reqwest::Request {
        let url = upstream.uri(path).to_string().parse().unwrap();
        reqwest::Request::new(reqwest::Method::GET, url)
    }

    fn client() -> PoolLimit<reqwest::Client> {
        limited(reqwest::Client::builder().no_proxy().build().unwrap())
    }

    #[tokio::test]
    async fn a_reqwest_response_keeps_its_parts_and_place() {
        let upstream = Upstream::start(|_| Reply::ok("paid").header("x-invoice", "7")).await;
        let client = client();
        let request = get(&upstream, "/v1?x=1");
        let url = request.url().clone();
        let response = client.clone().oneshot(request).await.unwrap();
        assert_eq!(response.url(), &url);
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["x-invoice"], "7");
        assert_eq!(response.content_length(), Some(4));
        assert_eq!(response.remote_addr(), Some(upstream.addr()));
        let handle = client.handle();
        let origin = upstream.uri("/").to_string().parse().unwrap();
        assert_eq!(handle.origin(&origin).unwrap().in_flight, 1);
        assert_eq!(response.text().await.unwrap(), "paid");
        assert_eq!(handle.total().in_flight, 0);
    }

    #[tokio::test]
    async fn a_dropped_reqwest_response_frees_its_place() {
        let upstream = Upstream::start(|_| Reply::chunked().chunk("a").hold()).await;
        let client = client();
        let mut responses = Vec::new();
        for _ in 0..LIMIT {
            responses.push(client.clone().oneshot(get(&upstream, "/")).await.unwrap());
        }
        let mut next = tokio_test::task::spawn(client.clone().oneshot(get(&upstream, "/")));
        assert!(next.poll().is_pending());
        drop(responses);
        assert!(next.is_woken());
        assert!(within(DEADLINE, next).await.is_ok());
    }

    #[tokio::test]
    async fn an_error_is_reqwests_own() {
        let refused = tollgate_testing::Refused::start([127, 0, 0, 1]);
        let url = format!("http://{}/", refused.addr()).parse().unwrap();
        let request = reqwest::Request::new(reqwest::Method::GET, url);
        let error = client().oneshot(request).await.unwrap_err();
        assert!(error.downcast_ref::<reqwest::Error>().unwrap().is_connect());
    }
}
