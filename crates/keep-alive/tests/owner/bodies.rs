//! Request bodies, and their end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use tollgate_core::CloseReason;
use tollgate_keep_alive::{KeepAlive, Protocol};
use tollgate_testing::http2::Http2Reply;
use tollgate_testing::{Connector, Http2Upstream, Reply, Upstream, within};
use tower::{Layer, ServiceExt};

use super::support::{LONG, Stack, cap, read};

/// A request body that notes its end.
struct Noted(
    Option<Bytes>,
    #[expect(dead_code, reason = "it is held")] Arc<()>,
);

impl Body for Noted {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

/// The body of a request was once kept until the next, though it had been sent.
#[tokio::test(start_paused = true)]
async fn a_request_body_does_not_outlive_its_exchange() {
    let streams = Http2Upstream::new(|_| Http2Reply::ok("ok"));
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let http2: KeepAlive = cap(1).protocol(Protocol::Http2).layer(streams.connector());
    let http1: KeepAlive = cap(1).layer(Connector::memory(&upstream));
    for (name, pool) in [("http1", http1), ("http2", http2)] {
        let lives = Arc::new(());
        let body = Noted(Some(Bytes::from("whole")), lives.clone());
        let request = Request::post("http://a.test/").body(body).unwrap();
        let response = within(LONG, pool.clone().oneshot(request)).await.unwrap();
        read(response).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(Arc::strong_count(&lives), 1, "{name}");
        assert_eq!(pool.snapshot().origins[0].idle, 1, "{name}");
    }
}

/// A request body that panics at once.
struct Panics;

impl Body for Panics {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        panic!("the body")
    }
}

/// It was once reported as the end of the pool.
#[tokio::test]
async fn a_panicking_request_body_is_an_error() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let stack = Stack::new(&upstream, &cap(1));
    let request = Request::post(upstream.uri("/")).body(Panics).unwrap();
    let error = within(LONG, stack.pool.clone().oneshot(request)).await;
    let error = error.unwrap_err();
    let chain: Vec<_> = tollgate_core::error::chain(&error)
        .map(ToString::to_string)
        .collect();
    let told = chain.iter().any(|text| text.contains("body panicked"));
    assert!(told, "{chain:?}");
    let stats = stack.settled(|stats| stats.closed == 1).await;
    assert_eq!(stats.closed_for(CloseReason::Shutdown), 0, "{stats:?}");
}

/// A request body whose destructor panics.
struct Explodes;

impl Body for Explodes {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(None)
    }
}

impl Drop for Explodes {
    fn drop(&mut self) {
        panic!("the end of the body")
    }
}

/// It ended its connection, with the streams of others on it, and its own call failed.
#[tokio::test]
async fn a_panicking_destructor_of_a_body_ends_there() {
    let streams = Http2Upstream::new(|_| Http2Reply::ok("ok"));
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let http2: KeepAlive = cap(1).protocol(Protocol::Http2).layer(streams.connector());
    let http1: KeepAlive = cap(1).layer(Connector::memory(&upstream));
    for (name, pool) in [("http1", http1), ("http2", http2)] {
        for _ in 0..3 {
            let request = Request::post("http://a.test/").body(Explodes).unwrap();
            let response = within(LONG, pool.clone().oneshot(request)).await.unwrap();
            assert_eq!(read(response).await.unwrap(), "ok", "{name}");
        }
        let idles = || pool.snapshot().origins[0].idle == 1;
        tollgate_testing::eventually(idles).await;
        assert_eq!(pool.snapshot().origins[0].opened, 1, "{name}");
    }
}
