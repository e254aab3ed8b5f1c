//! Bodies made of what is in memory, and read whole.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use bytes::Bytes;
use http::Request;
use http_body::Body as _;
use support::client_with;
use tollgate::{Body, BodyExt, Client, Error, ErrorKind};
use tollgate_testing::{Connector, Reply, Upstream};

const URI: &str = "http://body.internal/";

/// A client over an upstream in memory that replies so.
async fn replying(reply: Reply) -> (Client, Upstream) {
    let upstream = Upstream::start(move |_| reply.clone()).await;
    let connector = Connector::memory(&upstream);
    (client_with(|b| b.connector(connector)), upstream)
}

async fn collected(reply: Reply, limit: usize) -> Result<Bytes, Error> {
    let (client, _upstream) = replying(reply).await;
    let response = client.get(URI).await.unwrap();
    response.into_body().collect_within(limit).await
}

#[tokio::test(start_paused = true)]
async fn text_and_bytes_are_bodies_of_requests() {
    let (client, upstream) = replying(Reply::echo()).await;
    for body in [
        Body::from("text"),
        Body::from(String::from("text")),
        Body::from(b"text".to_vec()),
        Body::from(&b"text"[..]),
        Body::from(Bytes::from_static(b"text")),
    ] {
        let request = Request::put(URI).body(body).unwrap();
        let response = client.request(request).await.unwrap();
        let answer = response.into_body().collect_within(4).await.unwrap();
        assert_eq!(answer, "text");
    }
    for request in upstream.requests() {
        assert_eq!(request.header("content-length"), Some("4"));
    }
    let empty = Body::from("");
    assert!(empty.is_end_stream() && empty.size_hint().exact() == Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_body_within_its_limit_is_returned_whole() {
    let chunks = Reply::chunked().chunk("ab").chunk("cd").chunk("e");
    let chunks = chunks.end_chunks();
    assert_eq!(collected(chunks, 5).await.unwrap(), "abcde");
    assert_eq!(collected(Reply::ok("abcde"), 5).await.unwrap(), "abcde");
    assert_eq!(collected(Reply::ok(""), 0).await.unwrap(), "");
}

#[tokio::test(start_paused = true)]
async fn body_beyond_its_limit_is_too_large() {
    let endless = Reply::chunked().chunk("abc").chunk("def").hold();
    for reply in [endless, Reply::ok("abcdef")] {
        let error = collected(reply, 5).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BodyTooLarge);
        assert!(!error.is_retryable(), "{error}");
        assert!(error.to_string().contains("5 bytes"), "{error}");
    }
    // Refused by its announced length, though none of it has come.
    let announced = Reply::head(200).header("content-length", "6").hold();
    let error = collected(announced, 5).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BodyTooLarge);
}

#[tokio::test(start_paused = true)]
async fn reexported_trait_reads_a_body_by_frames() {
    let (client, _upstream) = replying(Reply::ok("abc")).await;
    let mut body = client.get(URI).await.unwrap().into_body();
    let frame = body.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "abc");
    assert!(body.frame().await.is_none());
}

#[cfg(feature = "json")]
#[tokio::test(start_paused = true)]
async fn json_goes_out_and_comes_back() {
    let (client, _upstream) = replying(Reply::echo()).await;
    let request = Request::post(URI).body(Body::from_json(&[1, 2]).unwrap());
    let response = client.request(request.unwrap()).await.unwrap();
    assert_eq!(
        response.into_body().json::<Vec<u8>>(99).await.unwrap(),
        [1, 2]
    );

    let request = Request::post(URI).body(Body::from("[1")).unwrap();
    let body = client.request(request).await.unwrap().into_body();
    let error = body.json::<Vec<u8>>(99).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(tollgate::find::<serde_json::Error>(&error).is_some());
}
