//! What one request says of itself, in its extensions.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use support::{client_with, text};
use tollgate::{Client, ErrorKind, NoRetry, OriginOverride};
use tollgate_testing::{Reply, Upstream};

#[expect(clippy::needless_pass_by_value, reason = "for any kind of URI")]
fn get(uri: impl ToString) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = uri.to_string().parse().unwrap();
    request
}

fn once(uri: impl ToString) -> Request<Full<Bytes>> {
    let mut request = get(uri);
    request.extensions_mut().insert(NoRetry);
    request
}

/// Answers the first request on each connection and closes at the second, unanswered.
async fn dying() -> Upstream {
    Upstream::start(|request| match request.nth {
        0 => Reply::ok("ok"),
        _ => Reply::nothing().close(),
    })
    .await
}

#[tokio::test]
async fn request_without_retry_is_not_replayed() {
    let upstream = dying().await;
    let client = client_with(|b| b);
    text(client.get(upstream.uri("/")).await.unwrap()).await;
    let error = client.request(once(upstream.uri("/once"))).await.err();
    let error = error.unwrap();
    assert_eq!(error.kind(), ErrorKind::ClosedAfterSent);
    assert_eq!(error.timings().attempts, 1);
    let sent = |path| {
        upstream
            .requests()
            .iter()
            .filter(|r| r.target == path)
            .count()
    };
    assert_eq!(sent("/once"), 1);

    // The same request without the mark is sent a second time.
    text(client.get(upstream.uri("/")).await.unwrap()).await;
    text(client.request(get(upstream.uri("/twice"))).await.unwrap()).await;
    assert_eq!(sent("/twice"), 2);
}

#[tokio::test]
async fn origin_override_keeps_path_and_sets_host() {
    let echo = |request: &tollgate_testing::upstream::Request| {
        let host = request.header("host").unwrap_or_default();
        Reply::ok(format!("{} {host}", request.target))
    };
    let [usual, canary] = [Upstream::start(echo).await, Upstream::start(echo).await];
    let client = client_with(|b| b);
    let to = OriginOverride::new(&format!("http://{}", canary.addr())).unwrap();
    let call = async |client: &Client, mut request: Request<Full<Bytes>>| {
        request.extensions_mut().insert(to.clone());
        text(client.request(request).await.unwrap()).await
    };

    let there = format!("/v1?q=1 {}", canary.addr());
    assert_eq!(call(&client, get(usual.uri("/v1?q=1"))).await, there);
    // A request that has only a path has a way to go, too.
    assert_eq!(call(&client, get("/v1?q=1")).await, there);
    // A Host of the caller's own stays.
    let mut request = get(usual.uri("/"));
    let host = http::HeaderValue::from_static("billing.internal");
    request.headers_mut().insert("host", host);
    assert_eq!(call(&client, request).await, "/ billing.internal");

    assert_eq!((usual.accepted(), canary.accepted()), (0, 1));
    let error = OriginOverride::new("/no/origin").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
}

#[tokio::test]
async fn error_of_origin_override_names_its_target() {
    let refused = tollgate_testing::Refused::start([127, 0, 0, 1]);
    let there = format!("http://{}", refused.addr());
    let client = client_with(|b| b);
    let mut request = get("http://billing.internal/");
    let to = OriginOverride::new(&there).unwrap();
    request.extensions_mut().insert(to);
    let error = client.request(request).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConnectRefused);
    assert_eq!(error.origin().unwrap().to_string(), there);
}
