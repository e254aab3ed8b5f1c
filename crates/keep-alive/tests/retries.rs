//! The number of retries that a pool makes by itself.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http::Uri;
use support::{cap, get};
use tollgate_keep_alive::{KeepAliveErrorKind, Protocol, RetryPolicy};
use tollgate_testing::http2::Http2Reply;
use tollgate_testing::{Connector, Http2Upstream, Reply, Upstream};
use tower::Layer;

/// The error code of a stream that was not processed (RFC 9113 section 7).
const REFUSED_STREAM: u32 = 7;

#[tokio::test(start_paused = true)]
async fn a_refused_stream_is_retried_by_policy() {
    for unsent in [0, 1, 3] {
        let requests = Arc::new(AtomicU32::new(0));
        let seen = requests.clone();
        let upstream = Http2Upstream::new(move |_| {
            seen.fetch_add(1, Ordering::Relaxed);
            Http2Reply::reset_stream(REFUSED_STREAM)
        });
        let mut retry = RetryPolicy::default();
        retry.unsent = unsent;
        let layer = cap(8).retry(retry).protocol(Protocol::Http2);
        let pool = layer.layer(upstream.connector());
        let answer = get(&pool, &Uri::from_static("http://a.test/")).await;
        assert_eq!(
            answer.unwrap_err().kind(),
            KeepAliveErrorKind::ClosedBeforeSent
        );
        assert_eq!(
            requests.load(Ordering::Relaxed),
            unsent + 1,
            "attempts with {unsent} retries"
        );
    }
}

/// Each request once cost four dials.
#[tokio::test(start_paused = true)]
async fn accept_and_close_spends_the_retry_budget() {
    const CALLS: usize = 1_000;
    let upstream = Upstream::builder().on_accept(|_| Reply::nothing().close());
    let upstream = upstream.start().await;
    let connector = Connector::memory(&upstream);
    let pool = cap(1).layer(connector.clone());
    for _ in 0..CALLS {
        get(&pool, &upstream.uri("/")).await.unwrap_err();
    }
    let dials = connector.stats().calls;
    // A fifth of the calls, and a hundred that a pool has to begin with.
    assert!(
        dials <= CALLS * 12 / 10 + 101,
        "{dials} dials of {CALLS} calls"
    );
}
