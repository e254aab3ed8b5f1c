//! Wakers that panic: foreign code that runs in the task of whoever frees what another waits for.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use support::{Stack, assert_at_rest, cap, fetch, get, read, request};
use tollgate_keep_alive::{KeepAliveFuture, OriginStats};
use tollgate_testing::{Reply, Upstream};
use tower::Service;

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("the waker");
    }
}

/// A call that waits in the queue, and whose waker panics.
fn waits(stack: &Stack, upstream: &Upstream) -> Pin<Box<KeepAliveFuture>> {
    let mut pool = stack.pool.clone();
    let mut call = Box::pin(pool.call(request("GET", &upstream.uri("/"))));
    let waker = Waker::from(Arc::new(Panics));
    let polled = call.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(matches!(polled, Poll::Pending));
    call
}

async fn at_rest(stack: &Stack) {
    let rest = |s: &OriginStats| s.in_flight + s.queued + s.connecting == 0;
    assert_at_rest(&stack.settled(rest).await);
}

#[tokio::test]
async fn a_panicking_waker_loses_no_lease() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    for collects in [true, false] {
        let stack = Stack::new(&upstream, &cap(1));
        let holder = get(&stack.pool, &upstream.uri("/")).await.unwrap();
        let waiter = waits(&stack, &upstream);
        assert_eq!(read(holder).await.unwrap(), "ok");
        if collects {
            assert_eq!(read(waiter.await.unwrap()).await.unwrap(), "ok");
        } else {
            drop(waiter);
        }
        assert_eq!(fetch(&stack.pool, &upstream.uri("/")).await.unwrap(), "ok");
        at_rest(&stack).await;
    }
}

/// A place that falls free wakes whoever waits longest under a total cap, of another origin.
#[tokio::test]
async fn a_closed_connections_place_wakes_another_origin() {
    let upstream = Upstream::start(|_| Reply::ok("ok").closing()).await;
    let layer = cap(1).max_connections_total(NonZeroUsize::MIN);
    let stack = Stack::new(&upstream, &layer);
    let holder = get(&stack.pool, &upstream.uri("/")).await.unwrap();
    let waiter = waits(&stack, &upstream);
    assert_eq!(read(holder).await.unwrap(), "ok");
    stack.settled(|stats| stats.closed == 1).await;
    assert_eq!(read(waiter.await.unwrap()).await.unwrap(), "ok");
    let other = format!("http://localhost:{}/", upstream.addr().port());
    let answer = fetch(&stack.pool, &other.parse().unwrap()).await;
    assert_eq!(answer.unwrap(), "ok");
    at_rest(&stack).await;
}
