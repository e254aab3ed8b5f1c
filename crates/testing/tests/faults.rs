//! Faults by name, as code over a client meets them.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::Duration;

use tokio::time::Instant;
use tollgate::{Bytes, Client, Error, ErrorKind, Protocol};
use tollgate_testing::http2::{Http2Reply, Http2Request};
use tollgate_testing::{Connector, Http2Upstream, Reply, Upstream};

const URI: &str = "http://billing.internal/v1/invoices";
const REFUSED_STREAM: u32 = 7;
const INTERNAL_ERROR: u32 = 2;

async fn read(client: &Client) -> Result<Bytes, Error> {
    let response = client.get(URI).await?;
    response.into_body().collect_within(1 << 20).await
}

fn over(
    script: impl Fn(&Http2Request) -> Http2Reply + Send + Sync + 'static,
) -> (Client, Http2Upstream) {
    let upstream = Http2Upstream::new(script);
    let client = Client::builder()
        .protocol(Protocol::Http2)
        .connector(upstream.connector())
        .response_timeout(Duration::from_secs(5));
    (client.build().unwrap(), upstream)
}

#[tokio::test(start_paused = true)]
async fn a_request_above_goaway_goes_to_another_connection() {
    let (client, upstream) = over(|request| match request.connection {
        0 => Http2Reply::go_away(),
        _ => Http2Reply::ok("whole"),
    });
    assert_eq!(read(&client).await.unwrap(), "whole");
    assert_eq!(upstream.accepted(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refused_stream_is_sent_again() {
    let (client, _upstream) = over(|request| match (request.connection, request.nth) {
        (0, 0) => Http2Reply::reset_stream(REFUSED_STREAM),
        _ => Http2Reply::ok("whole"),
    });
    assert_eq!(read(&client).await.unwrap(), "whole");
}

#[tokio::test(start_paused = true)]
async fn a_reset_stream_may_have_been_processed() {
    let (client, upstream) = over(|_| Http2Reply::reset_stream(INTERNAL_ERROR));
    let error = read(&client).await.unwrap_err();
    assert!(!error.is_retryable() && !error.nothing_sent(), "{error}");
    assert_eq!(upstream.accepted(), 1);
}

#[tokio::test(start_paused = true)]
async fn stream_reset_breaks_off_the_body() {
    let (client, _upstream) = over(|_| Http2Reply::reset_stream_after("part", INTERNAL_ERROR));
    assert_eq!(read(&client).await.unwrap_err().kind(), ErrorKind::Body);
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_is_a_response_timeout() {
    let (client, _upstream) = over(|_| Http2Reply::never());
    assert_eq!(
        read(&client).await.unwrap_err().kind(),
        ErrorKind::ResponseTimeout
    );
}

/// The code under test of the guide's chapter.
async fn retries(client: &Client) -> Result<Bytes, Error> {
    match read(client).await {
        Err(error) if error.kind() == ErrorKind::Body => read(client).await,
        outcome => outcome,
    }
}

async fn reset_and_retry() {
    let upstream = Upstream::start(|request| match request.connection {
        0 => Reply::ok(vec![b'x'; 1024]).reset_at(512),
        _ => Reply::ok("whole"),
    })
    .await;
    let client = Client::builder().connector(Connector::memory(&upstream));
    let client = client.build().unwrap();
    assert_eq!(retries(&client).await.unwrap(), "whole");
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn reset_and_retry_take_under_50_ms() {
    let run = || {
        // Outside a runtime: the clock on the wall.
        let begin = Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build();
        runtime.unwrap().block_on(reset_and_retry());
        begin.elapsed()
    };
    // The least of a few, as another process may take the processor.
    let least = (0..10).map(|_| run()).min().unwrap();
    assert!(least < Duration::from_millis(50), "{least:?}");
}
