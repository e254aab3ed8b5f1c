//! Streams and connections that end otherwise than by an answer.

use http::Request;
use http_body_util::{BodyExt, Full};
use tollgate_keep_alive::KeepAliveErrorKind;
use tower::ServiceExt;

use super::peer::INTERNAL_ERROR;
use super::*;

#[tokio::test]
async fn goaway_retries_only_unprocessed_streams() {
    let stack = Stack::new(None, &streams(4, 100)).await;
    let calls = stack.calls(10);
    until(|| stack.peer.open() == [10]).await;
    stack.peer.go_away(0, 5);
    until(|| stack.peer.open() == [5, 5]).await;
    let stats = stack.stats();
    assert_eq!((stats.open, stats.draining), (1, 1), "it is replaced first");
    let origin = stack.uri.to_string().parse().unwrap();
    let connections = stack.pool.detail(&origin).unwrap().connections;
    let seen: Vec<_> = connections
        .iter()
        .map(|one| (one.protocol, one.streams, one.state.label()))
        .collect();
    assert_eq!(seen, [("h2", 5, "draining"), ("h2", 5, "active")]);
    // Newcomers do not go where nobody is wanted.
    let more = stack.calls(3);
    until(|| stack.peer.open() == [5, 8]).await;
    stack.peer.answer_all();
    all_ok(calls).await;
    all_ok(more).await;
    until(|| stack.connector.stats().live == 1).await;
    assert_eq!(stack.peer.requests(), 10 + 5 + 3);
    assert_at_rest(&stack.stats());
}

#[tokio::test]
async fn only_an_unprocessed_post_is_retried() {
    let stack = Stack::new(None, &streams(4, 100)).await;
    let post = || {
        let body = Full::new(Bytes::from("x"));
        let request = Request::post(&stack.uri).body(body).unwrap();
        tokio::spawn(stack.pool.clone().oneshot(request))
    };
    let calls = [post(), post(), post()];
    until(|| stack.peer.open() == [3]).await;
    // The last two are left out; their bodies are hyper's already.
    stack.peer.go_away(0, 1);
    until(|| stack.peer.open() == [1, 2]).await;
    stack.peer.answer_all();
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
    assert_eq!(stack.peer.requests(), 3 + 2);
}

#[tokio::test]
async fn bodies_too_long_to_keep_are_not_retried() {
    let stack = Stack::new(None, &streams(4, 100)).await;
    let post = |bytes| {
        let body = Full::new(Bytes::from(vec![b'x'; bytes]));
        let request = Request::post(&stack.uri).body(body).unwrap();
        tokio::spawn(stack.pool.clone().oneshot(request))
    };
    let (short, long) = (post(64 * 1024), post(64 * 1024 + 1));
    until(|| stack.peer.open() == [2]).await;
    stack.peer.go_away(0, 0);
    until(|| stack.peer.open() == [0, 1]).await;
    stack.peer.answer_all();
    assert!(short.await.unwrap().is_ok());
    let lost = long.await.unwrap().unwrap_err();
    assert_eq!(lost.kind(), KeepAliveErrorKind::ClosedBeforeSent);
}

#[tokio::test]
async fn a_no_retry_request_is_sent_once() {
    let stack = Stack::new(None, &streams(4, 100)).await;
    stack.peer.refuse(1);
    let mut request = support::request("GET", &stack.uri);
    request
        .extensions_mut()
        .insert(tollgate_keep_alive::NoRetry);
    let error = stack.pool.clone().oneshot(request).await.unwrap_err();
    assert_eq!(error.kind(), KeepAliveErrorKind::ClosedBeforeSent);
    assert_eq!(stack.peer.requests(), 1);
}

#[tokio::test]
async fn a_stream_is_leased_until_its_upload_ends() {
    let stack = Stack::new(None, &streams(1, 1)).await;
    stack.peer.answer_at_once();
    let (mut more, body) = http_body_util::Channel::<Bytes>::new(1);
    let upload = Request::post(&stack.uri).body(body).unwrap();
    let answer = stack.pool.clone().oneshot(upload).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
    assert_eq!(stack.stats().in_flight, 1, "the rest is still on its way");
    let next = stack.call();
    until(|| stack.stats().queued == 1).await;
    more.send_data(Bytes::from("the end")).await.unwrap();
    drop(more);
    all_ok(vec![next]).await;
    assert_eq!(stack.peer.resets(), 0);
    until(|| stack.stats().in_flight == 0).await;
    assert_at_rest(&stack.stats());
}

#[tokio::test]
async fn dropping_the_answer_ends_the_upload_too() {
    let stack = Stack::new(None, &streams(1, 1)).await;
    let (_more, body) = http_body_util::Channel::<Bytes>::new(1);
    let upload = Request::post(&stack.uri).body(body).unwrap();
    let answer = tokio::spawn(stack.pool.clone().oneshot(upload));
    until(|| stack.peer.open() == [1]).await;
    stack.peer.answer_heads();
    drop(answer.await.unwrap().unwrap());
    until(|| stack.peer.resets() == 1).await;
    stack.peer.answer_at_once();
    all_ok(stack.calls(1)).await;
    assert_at_rest(&stack.stats());
}

#[tokio::test]
async fn refused_stream_retries_even_an_empty_post() {
    let stack = Stack::new(None, &streams(4, 100)).await;
    stack.peer.answer_at_once();
    all_ok(stack.calls(1)).await;
    stack.peer.refuse(2);
    all_ok(stack.calls(1)).await;
    assert_eq!(stack.peer.requests(), 1 + 3);
    stack.peer.refuse(1);
    let request = support::request("POST", &stack.uri);
    let response = stack.pool.clone().oneshot(request).await.unwrap();
    assert_eq!(response.body().timings().attempts, 2);
    stack.peer.refuse(100);
    let error = fetch(&stack.pool, &stack.uri).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("did not process it") && !text.contains("idle_timeout"),
        "{text}"
    );
}

#[tokio::test]
async fn a_stream_that_is_reset_leaves_the_others() {
    let stack = Stack::new(None, &streams(4, 100)).await;
    let mut calls = stack.calls(5);
    until(|| stack.peer.open() == [5]).await;
    stack.peer.reset_first(0, INTERNAL_ERROR);
    until(|| stack.stats().in_flight == 4).await;
    stack.peer.answer_all();
    let mut failed = 0;
    for call in calls.drain(..) {
        failed += usize::from(call.await.unwrap().is_err());
    }
    assert_eq!(failed, 1);
    assert_eq!(
        (stack.peer.accepted(), stack.connector.stats().live),
        (1, 1)
    );
    assert_at_rest(&stack.stats());
}

#[tokio::test]
async fn dropping_a_body_resets_only_its_stream() {
    let stack = Stack::new(None, &streams(4, 100)).await;
    let (uri, pool) = (stack.uri.clone(), stack.pool.clone());
    let unread = tokio::spawn(async move { support::get(&pool, &uri).await });
    until(|| stack.peer.open() == [1]).await;
    stack.peer.answer_heads();
    let unread = unread.await.unwrap().unwrap();
    assert_eq!(
        stack.stats().in_flight,
        1,
        "its lease lasts as long as its body"
    );
    drop(unread);
    until(|| stack.peer.resets() == 1).await;
    stack.peer.answer_at_once();
    all_ok(stack.calls(5)).await;
    assert_eq!(
        (stack.peer.accepted(), stack.connector.stats().live),
        (1, 1)
    );
    assert_at_rest(&stack.stats());
}

#[tokio::test]
async fn a_ping_finds_a_silent_peer() {
    let options = Http2Options::new()
        .ping_interval(Some(Duration::from_millis(200)))
        .ping_timeout(Duration::from_millis(200));
    let stack = Stack::new(None, &cap(8).http2(options)).await;
    stack.peer.answer_at_once();
    all_ok(stack.calls(1)).await;
    stack.peer.fall_silent();
    let since = tokio::time::Instant::now();
    // Not a GET, which would be tried once more elsewhere.
    let lost = support::post(&stack.pool, &stack.uri, "x").await;
    assert_eq!(
        lost.unwrap_err().kind(),
        KeepAliveErrorKind::ClosedAfterSent
    );
    let took = since.elapsed();
    assert!(took < Duration::from_millis(600), "{took:?}");
    until(|| stack.connector.stats().live == 0).await;
}

#[tokio::test]
async fn a_peer_without_http2_fails_the_dial() {
    let upstream = tollgate_testing::Upstream::start(|_| tollgate_testing::Reply::ok("")).await;
    let connector = Connector::tcp(upstream.addr()).connected(|| Connected::new().negotiated_h2());
    let pool = cap(4).layer(connector.clone());
    let uri: Uri = format!("https://{}/", upstream.addr()).parse().unwrap();
    let error = support::get(&pool, &uri).await.unwrap_err();
    assert_eq!(error.kind(), KeepAliveErrorKind::Connect);
    until(|| connector.stats().live == 0).await;
}

#[tokio::test]
async fn http2_needs_no_agreement_where_it_is_known() {
    let peer = Peer::start(None).await;
    peer.answer_at_once();
    let connector = Connector::tcp(peer.addr);
    let layer = cap(8).protocol(tollgate_keep_alive::Protocol::Http2);
    let pool = layer.layer(connector);
    let uri: Uri = format!("http://{}/", peer.addr).parse().unwrap();
    let calls = (0..50).map(|_| fetch(&pool, &uri));
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(answer.unwrap(), "ok");
    }
    assert_eq!((peer.accepted(), peer.requests()), (1, 50));
}
