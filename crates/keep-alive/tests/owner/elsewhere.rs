//! Leases, waits and connections on another runtime than the one that is driven, or on none.

use std::any::Any;
use std::time::Duration;

use futures_util::FutureExt;
use http::Uri;
use http_body_util::BodyExt;
use tokio::runtime::{Builder, Runtime};
use tollgate_keep_alive::KeepAlive;
use tollgate_testing::{Connector, Reply, Upstream, within};
use tower::{Layer, Service};

use super::support::{LONG, cap, fetch, get, request};

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn paused() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().unwrap()
}

/// An answer whose end has come and is not read once its first frame is.
fn chunked() -> Reply {
    Reply::chunked().chunk("ok").end_chunks()
}

/// The clock has nothing to do while a connection is in use, and ends. It once began again where the lease
/// came back, and so nowhere, or where nothing was driven.
fn a_connection_idles_out_that(comes_back: impl FnOnce(Box<dyn Any + Send>)) {
    let runtime = paused();
    let upstream = runtime.block_on(Upstream::start(|_| chunked()));
    let connector = Connector::memory(&upstream);
    let pool: KeepAlive = cap(1).layer(connector.clone());
    let body = runtime.block_on(async {
        let mut body = get(&pool, &upstream.uri("/")).await.unwrap().into_body();
        body.frame().await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        body
    });
    comes_back(Box::new(body));
    assert_eq!(pool.snapshot().origins[0].idle, 1);
    runtime.block_on(async { tokio::time::sleep(Duration::from_secs(3600)).await });
    assert_eq!(connector.stats().live, 0, "it idled out");
    assert_eq!(pool.snapshot().origins.len(), 0, "and was forgotten");
}

#[test]
fn a_lease_from_a_plain_thread_idles_out() {
    a_connection_idles_out_that(|body| std::thread::spawn(move || drop(body)).join().unwrap());
}

#[test]
fn a_lease_from_an_undriven_runtime_idles_out() {
    let other = paused();
    a_connection_idles_out_that(|body| other.block_on(async { drop(body) }));
}

/// The timer of a call that waited was on the runtime of its first poll, and panicked once that had ended.
#[test]
fn a_waiting_call_moves_from_an_ended_runtime() {
    let driven = Runtime::new().unwrap();
    let upstream = driven.block_on(Upstream::start(|_| chunked()));
    let connector = Connector::tcp(upstream.addr());
    let waits = |pool: &KeepAlive| {
        let first = current_thread();
        let mut call = Box::pin(pool.clone().call(request("GET", &upstream.uri("/"))));
        first.block_on(async { assert!((&mut call).now_or_never().is_none()) });
        call
    };
    // For a dial of its own, and for the connection of another.
    let pool: KeepAlive = cap(1).layer(connector);
    let call = waits(&pool);
    let mut held = driven.block_on(within(LONG, call)).unwrap();
    let call = waits(&pool);
    driven.block_on(async {
        held.body_mut().frame().await.unwrap().unwrap();
        drop(held);
        within(LONG, call).await.unwrap();
    });
}

/// The connection that had idled longest was closed for it, on a runtime that was not driven, and was
/// waited for while another one idled.
#[test]
fn an_undriven_connection_bars_no_other_reclaim() {
    let driven = Runtime::new().unwrap();
    let upstream = driven.block_on(Upstream::start(|_| Reply::ok("ok")));
    let layer = cap(1).max_connections_total(super::n(2));
    let pool: KeepAlive = layer.layer(Connector::tcp(upstream.addr()));
    let uri = |name: &str| -> Uri { format!("http://{name}.test/").parse().unwrap() };
    let stalled = current_thread();
    stalled.block_on(async { fetch(&pool, &uri("a")).await.unwrap() });
    driven.block_on(async {
        for name in ["b", "c", "d", "e"] {
            let answer = within(Duration::from_secs(20), fetch(&pool, &uri(name))).await;
            assert_eq!(answer.unwrap(), "ok");
        }
    });
}
