//! Why a request got no lease, as an observer is told: a caller that left is one thing, a peer or a
//! place that serves nobody another.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::future::ready;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use support::{assert_at_rest, cap, get, request};
use tollgate_core::{Origin, RefuseReason};
use tollgate_keep_alive::KeepAliveErrorKind;
use tollgate_testing::{Recorded, Recorder};
use tower::{Layer, Service};

/// A connection that its peer has closed already.
struct Closed;

impl Read for Closed {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Write for Closed {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Connection for Closed {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

fn refusals(seen: &[Recorded]) -> Vec<(RefuseReason, Duration)> {
    let refused = seen.iter().filter_map(|seen| match seen {
        Recorded::Refused(reason, waited) => Some((*reason, *waited)),
        _ => None,
    });
    refused.collect()
}

/// It once counted as callers who left, which nobody looks at when requests fail.
#[tokio::test(start_paused = true)]
async fn accept_and_close_counts_as_closed_before_sent() {
    let recorder = Recorder::of_pool();
    let connector = tower::service_fn(|_| ready(Ok::<_, io::Error>(Closed)));
    let pool = cap(1).observer(recorder.clone()).layer(connector);
    let uri = "http://closing.test/".parse().unwrap();
    let error = get(&pool, &uri).await.unwrap_err();
    assert_eq!(error.kind(), KeepAliveErrorKind::ClosedBeforeSent);
    let seen = recorder.take();
    let [(RefuseReason::ClosedBeforeSent, waited)] = refusals(&seen)[..] else {
        panic!("{seen:?}");
    };
    assert!(!waited.is_zero(), "it was queued");
    let origin = Origin::from_uri(&uri).unwrap();
    let stats = pool.stats(&origin).unwrap();
    assert_eq!((stats.failed, stats.cancelled), (1, 0));
    assert_eq!(stats.requests, 1);
}

#[test]
fn a_call_outside_a_runtime_is_no_runtime() {
    let recorder = Recorder::of_pool();
    let connector = tower::service_fn(|_| ready(Ok::<_, io::Error>(Closed)));
    let mut pool = cap(1).observer(recorder.clone()).layer(connector);
    let uri = "http://closing.test/".parse().unwrap();
    let mut call = pool.call(request("GET", &uri));
    let polled = Pin::new(&mut call).poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(Err(error)) = polled else {
        panic!("there is nothing to wait for");
    };
    assert_eq!(error.kind(), KeepAliveErrorKind::NoRuntime);
    drop(call);
    let seen = recorder.take();
    let refusals = refusals(&seen);
    assert!(
        matches!(refusals[..], [(RefuseReason::NoRuntime, waited)] if !waited.is_zero()),
        "{seen:?}"
    );
    let stats = pool.stats(&Origin::from_uri(&uri).unwrap()).unwrap();
    assert_eq!((stats.refused, stats.cancelled), (1, 0));
    assert_at_rest(&stats);
}
