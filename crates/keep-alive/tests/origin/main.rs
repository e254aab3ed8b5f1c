//! A pool's service for one origin: readiness is a reserved connection, also under tower's layers that
//! act on readiness.

#![allow(clippy::unwrap_used, reason = "a test")]

mod layered;
mod readiness;
#[path = "../support/mod.rs"]
mod support;

use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use tokio_test::task;
use tollgate_keep_alive::{KeepAliveError, KeepAliveLayer, KeepAliveOrigin};
use tollgate_testing::{Upstream, within};
use tower::{Service, ServiceExt};

use support::{LONG, Stack, fetch};

type Req = Request<Empty<Bytes>>;

fn get(path: &str) -> Req {
    Request::get(path).body(Empty::new()).unwrap()
}

/// A pool whose connection to the upstream is open, so that readiness needs no dial.
async fn warm(upstream: &Upstream, layer: &KeepAliveLayer) -> (Stack, KeepAliveOrigin) {
    let stack = Stack::new(upstream, layer);
    fetch(&stack.pool, &upstream.uri("/")).await.unwrap();
    let service = stack.pool.origin(&stack.origin).unwrap();
    (stack, service)
}

/// One look at readiness, by nobody who could be woken.
fn ready<S: Service<Req>>(service: &mut S) -> Poll<Result<(), S::Error>> {
    task::spawn(poll_fn(|cx| service.poll_ready(cx))).poll()
}

/// The service, once it is ready.
async fn when_ready<S: Service<Req, Error: std::fmt::Debug>>(service: &mut S) -> &mut S {
    within(LONG, service.ready()).await.unwrap()
}

/// A clone that waits to be ready, and notes whether it was woken.
fn waiting(
    service: &KeepAliveOrigin,
) -> task::Spawn<impl Future<Output = Result<KeepAliveOrigin, KeepAliveError>> + use<>> {
    let ready = ServiceExt::<Req>::ready_oneshot(service.clone());
    let mut task = task::spawn(ready);
    assert!(task.poll().is_pending(), "all connections are taken");
    task
}
