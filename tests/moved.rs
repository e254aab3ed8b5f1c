//! Futures that one runtime polled first: their time runs out on the one that polls them now, whether the
//! first has ended or is not driven.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response, Uri};
use http_body_util::BodyExt;
use hyper_util::client::legacy::connect::dns::Name;
use tokio::runtime::{Builder, Runtime};
use tollgate::{Body, Client, ClientBuilder, ErrorKind};
use tollgate_cached_dns::{Answer, CachedDnsLayer, LookupError, LookupErrorKind};
use tollgate_connect_timeout::{ConnectTimedOut, ConnectTimeoutLayer};
use tollgate_core::BoxError;
use tollgate_dial::{DialFailure, DialLayer};
use tollgate_pool_limit::{PoolLimitError, PoolLimitErrorKind, PoolLimitLayer};
use tollgate_testing::{Connector, Reply, Upstream, within};
use tower::{Layer, Service, ServiceExt, service_fn};

const LIMIT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(20);

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// The result of a future that `begin` makes and one runtime polls until it waits, on another.
fn moved<T>(ends: bool, begin: impl FnOnce() -> BoxFuture<'static, T>) -> T {
    let first = runtime();
    let mut future = {
        let _entered = first.enter();
        begin()
    };
    first.block_on(async {
        for _ in 0..3 {
            assert!((&mut future).now_or_never().is_none(), "it waits");
            tokio::task::yield_now().await;
        }
    });
    // Kept, and not driven, unless it ends.
    let _undriven = (!ends).then_some(first);
    runtime().block_on(within(LONG, future))
}

/// A client whose connections are driven by this runtime.
fn client_on(
    runtime: &Runtime,
    upstream: &Upstream,
    limited: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> Client {
    let builder = Client::builder()
        .connector(Connector::tcp(upstream.addr()))
        .runtime(runtime.handle().clone());
    limited(builder).build().unwrap()
}

#[test]
fn a_response_timeout_moves_between_runtimes() {
    let driven = Runtime::new().unwrap();
    let upstream = driven.block_on(Upstream::start(|_| Reply::never()));
    for ends in [true, false] {
        let client = client_on(&driven, &upstream, |b| b.response_timeout(LIMIT));
        let uri = upstream.uri("/");
        let error = moved(ends, || client.get(uri).boxed()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResponseTimeout, "{error}");
    }
}

#[test]
fn a_body_idle_timeout_moves_between_runtimes() {
    let driven = Runtime::new().unwrap();
    let upstream = driven.block_on(Upstream::start(|_| Reply::chunked().chunk("first").hold()));
    for ends in [true, false] {
        let client = client_on(&driven, &upstream, |b| b.body_idle_timeout(LIMIT));
        let uri = upstream.uri("/");
        let mut body = driven.block_on(client.get(uri)).unwrap().into_body();
        driven.block_on(body.frame()).unwrap().unwrap();
        let rest = moved(ends, || async move { body.frame().await.unwrap() }.boxed());
        let error = rest.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BodyTimeout, "{error}");
    }
}

#[test]
fn an_acquire_timeout_moves_between_runtimes() {
    for ends in [true, false] {
        let never = service_fn(|_: Request<()>| pending::<Result<Response<Body>, BoxError>>());
        let mut limited = PoolLimitLayer::per_origin(1)
            .unwrap()
            .acquire_timeout(LIMIT)
            .layer(never);
        let request = || Request::get("http://billing.test/").body(()).unwrap();
        let mut held = limited.call(request()).boxed();
        assert!((&mut held).now_or_never().is_none());
        let error = moved(ends, || limited.call(request()).boxed()).unwrap_err();
        let error: &PoolLimitError = error.downcast_ref().unwrap();
        assert_eq!(error.kind(), PoolLimitErrorKind::QueueTimeout, "{error}");
    }
}

/// The connection is driven by a runtime that is not, and the call waits for a sign of life from there.
#[test]
fn a_look_at_a_driver_moves_between_runtimes() {
    let driven = Runtime::new().unwrap();
    let upstream = driven.block_on(Upstream::start(|_| Reply::ok("ok")));
    for ends in [true, false] {
        let undriven = runtime();
        let client = client_on(&undriven, &upstream, |b| b.response_timeout(LIMIT * 5));
        let uri = upstream.uri("/");
        undriven.block_on(async {
            let response = client.get(uri.clone()).await.unwrap();
            response.into_body().collect().await.unwrap();
        });
        let error = moved(ends, || client.get(uri).boxed()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResponseTimeout, "{error}");
    }
}

#[test]
fn drains_move_between_runtimes() {
    let driven = Runtime::new().unwrap();
    for ends in [true, false] {
        let upstream = driven.block_on(Upstream::start(|_| Reply::never()));
        let client = client_on(&driven, &upstream, |b| b);
        let call = driven.spawn(client.get(upstream.uri("/")));
        driven.block_on(upstream.settled(|stats| stats.requests > 0));
        let drained = moved(ends, || async move { client.drain(LIMIT).await }.boxed());
        assert_eq!(drained, 1, "cut in time");
        driven.block_on(call).unwrap().unwrap_err();

        let never = service_fn(|_: Request<()>| pending::<Result<Response<Body>, BoxError>>());
        let mut limited = PoolLimitLayer::per_origin(1).unwrap().layer(never);
        let request = Request::get("http://billing.test/").body(()).unwrap();
        let mut held = limited.call(request).boxed();
        assert!((&mut held).now_or_never().is_none());
        let handle = limited.handle();
        let drained = moved(ends, || async move { handle.drain(LIMIT).await }.boxed());
        drained.unwrap_err();
    }
}

#[test]
fn a_connect_timeout_moves_between_runtimes() {
    for ends in [true, false] {
        let never = service_fn(|_: Uri| pending::<Result<(), BoxError>>());
        let connect = ConnectTimeoutLayer::new(LIMIT).layer(never);
        let uri = Uri::from_static("http://billing.test/");
        let error = moved(ends, || connect.oneshot(uri).boxed()).unwrap_err();
        assert!(error.is::<ConnectTimedOut>(), "{error}");
    }
}

#[test]
fn a_dial_moves_between_runtimes() {
    for ends in [true, false] {
        let never = service_fn(|_: Name| pending::<Result<[SocketAddr; 1], io::Error>>());
        let dial = DialLayer::new().connect_timeout(LIMIT).layer(never);
        let uri = Uri::from_static("http://billing.test/");
        let error = moved(ends, || dial.oneshot(uri).boxed()).unwrap_err();
        assert_eq!(error.failure(), DialFailure::Timeout, "{error}");
    }
}

#[test]
fn a_lookup_moves_between_runtimes() {
    for ends in [true, false] {
        let never = service_fn(|_: Name| pending::<Result<Answer, LookupError>>());
        let cached = CachedDnsLayer::new().lookup_timeout(LIMIT).cached(never);
        let name = "billing.test".parse::<Name>().unwrap();
        let error = moved(ends, || cached.oneshot(name).boxed()).unwrap_err();
        assert_eq!(error.kind(), LookupErrorKind::Timeout, "{error}");
    }
}

/// It keeps the timer that it has.
#[test]
fn a_lookup_bears_a_poll_without_timers() {
    let first = runtime();
    let never = service_fn(|_: Name| pending::<Result<Answer, LookupError>>());
    let mut cached = CachedDnsLayer::new().lookup_timeout(LIMIT).cached(never);
    let mut lookup = {
        let _entered = first.enter();
        cached.call("billing.test".parse().unwrap())
    };
    assert!((&mut lookup).now_or_never().is_none(), "outside");
    let timeless = Builder::new_current_thread().build().unwrap();
    timeless.block_on(async { assert!((&mut lookup).now_or_never().is_none()) });
    let error = first.block_on(within(LONG, lookup)).unwrap_err();
    assert_eq!(error.kind(), LookupErrorKind::Timeout, "{error}");
}
