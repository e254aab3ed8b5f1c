//! Several runtimes, of which one ends, unwinds or is not driven.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join_all;
use http::Response;
use http_body_util::Empty;
use tokio::runtime::{Builder, Runtime};
use tollgate_core::CloseReason;
use tollgate_keep_alive::{KeepAlive, KeepAliveErrorKind, KeepAliveLayer};
use tollgate_testing::io::Plan;
use tollgate_testing::{Connector, Gate, InMemory, Reply, Upstream, eventually, within};
use tower::{Layer, Service, service_fn};

use super::support::{LONG, cap, fetch, get, request};

const SHORT: Duration = Duration::from_millis(500);

fn servers() -> (Runtime, Upstream) {
    let servers = Runtime::new().unwrap();
    let upstream = servers.block_on(Upstream::start(|_| Reply::ok("ok")));
    (servers, upstream)
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn short(cap_of: usize) -> KeepAliveLayer {
    cap(cap_of).acquire_timeout(SHORT).connect_timeout(SHORT)
}

/// A call that was polled once, on a runtime that is not driven again, left its dial in the way of all
/// others for ever.
#[test]
fn a_dial_on_an_idle_runtime_bounds_waits() {
    let (_servers, upstream) = servers();
    for cap_of in [1, 4] {
        let pool: KeepAlive = short(cap_of).layer(Connector::tcp(upstream.addr()));
        let stalled = current_thread();
        let uri = upstream.uri("/");
        let mut call = Box::pin(get(&pool, &uri));
        stalled.block_on(async { assert!((&mut call).now_or_never().is_none()) });
        let driven = Runtime::new().unwrap();
        let answer = driven.block_on(within(
            Duration::from_secs(5),
            get(&pool, &upstream.uri("/")),
        ));
        if let Err(error) = answer {
            assert_eq!(error.kind(), KeepAliveErrorKind::QueueTimeout, "{error}");
        }
        // The dial is given up by a clock that is driven, and its place is used.
        driven.block_on(async {
            eventually(|| pool.snapshot().origins[0].connecting == 0).await;
            assert_eq!(fetch(&pool, &upstream.uri("/")).await.unwrap(), "ok");
        });
        drop(call);
    }
}

/// An idle connection whose driver does not run took the next request and kept it.
#[test]
fn an_undriven_idle_connection_is_replaced() {
    let (_servers, upstream) = servers();
    let pool: KeepAlive = cap(2).layer(Connector::tcp(upstream.addr()));
    let stalled = current_thread();
    stalled.block_on(async { fetch(&pool, &upstream.uri("/")).await.unwrap() });
    let driven = Runtime::new().unwrap();
    driven.block_on(async {
        let answer = within(Duration::from_secs(5), fetch(&pool, &upstream.uri("/"))).await;
        assert_eq!(answer.unwrap(), "ok");
    });
    drop(stalled);
    driven.block_on(eventually(|| {
        pool.snapshot().origins[0].closed_for(CloseReason::Stuck) == 1
    }));
}

/// Between a call and its first poll the clock touched its origin, and started its dial on the runtime
/// that had been seen last: the call waited for eleven seconds.
#[test]
fn a_dial_runs_on_its_calls_runtime() {
    let (_servers, upstream) = servers();
    let pool: KeepAlive = cap(2).layer(Connector::tcp(upstream.addr()));
    let (uri, stalled) = (upstream.uri("/"), current_thread());
    let origin = uri.to_string().parse().unwrap();
    stalled.block_on(async { fetch(&pool, &uri).await.unwrap() });
    pool.close_idle();
    let driven = Runtime::new().unwrap();
    driven.block_on(async {
        let call = pool.clone().call(request("GET", &uri));
        // The driver of the first does not run, and it keeps its place.
        pool.set_max_connections(&origin, super::n(3)).unwrap();
        within(Duration::from_secs(5), call).await.unwrap();
    });
}

/// It was to open more connections, on a runtime that had ended with the first, and counted as waiting for
/// a place in the total cap for as long as nobody called.
#[test]
fn a_warmed_origin_whose_runtime_ended_is_forgotten() {
    let answer = |_| async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) };
    let connector = InMemory::new(service_fn(answer));
    let pool: KeepAlive = cap(3).max_connections_total(super::n(1)).layer(connector);
    let (warmed, other) = ("http://a.test/", "http://b.test/");
    let paused = || {
        let mut builder = Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap()
    };
    let first = paused();
    first.block_on(async {
        let _held = get(&pool, &warmed.parse().unwrap()).await.unwrap();
        pool.warm(&warmed.parse().unwrap(), 3).unwrap();
    });
    drop(first);
    paused().block_on(async {
        fetch(&pool, &other.parse().unwrap()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert_eq!(pool.snapshot().origins.len(), 0);
    });
}

/// The caller that caused the dial ended with its runtime; the one behind it, on another, waited
/// though nothing was open.
#[test]
fn a_dial_lost_with_its_runtime_passes_on() {
    let (_servers, upstream) = servers();
    for _ in 0..6 {
        let pool: KeepAlive = short(1).layer(Connector::tcp(upstream.addr()));
        let (first, second) = (current_thread(), Runtime::new().unwrap());
        let uri = upstream.uri("/");
        let mut call = Box::pin(get(&pool, &uri));
        first.block_on(async { assert!((&mut call).now_or_never().is_none()) });
        let behind = second.spawn({
            let (pool, uri) = (pool.clone(), upstream.uri("/"));
            async move { fetch(&pool, &uri).await.map_err(|error| error.to_string()) }
        });
        second.block_on(eventually(|| pool.snapshot().origins[0].queued == 2));
        drop(first);
        drop(call);
        let answer = second.block_on(within(LONG, behind)).unwrap();
        assert_eq!(answer.unwrap(), "ok");
    }
}

/// A panic that unwinds the runtime of a dial was reported as the connector's.
#[test]
fn an_unwinding_runtimes_dial_fails_no_request() {
    let (_servers, upstream) = servers();
    let gate = Gate::new();
    let held = gate.clone();
    let connector = Connector::tcp(upstream.addr()).script(move |dial| match dial.nth {
        0 => Plan::connect().when(&held),
        _ => Plan::connect(),
    });
    let pool: KeepAlive = cap(1).layer(connector);
    let (dialling, uri) = (pool.clone(), upstream.uri("/"));
    let second = Runtime::new().unwrap();
    let behind = second.spawn({
        let (pool, uri, gate) = (pool.clone(), upstream.uri("/"), gate.clone());
        async move {
            gate.reached(1).await;
            fetch(&pool, &uri).await.map_err(|error| error.to_string())
        }
    });
    let unwinds = std::thread::spawn(move || {
        current_thread().block_on(async move {
            drop(tokio::spawn(
                async move { get(&dialling, &uri).await.map(drop) },
            ));
            gate.reached(1).await;
            eventually(|| pool.snapshot().origins[0].queued == 2).await;
            panic!("not the connector's");
        });
    });
    assert!(unwinds.join().is_err());
    let answer = second.block_on(within(LONG, behind)).unwrap();
    assert_eq!(answer.unwrap(), "ok");
}

/// The clock once lived on the first runtime, and nothing idled out while that was not driven.
#[test]
fn connections_idle_out_beside_an_undriven_runtime() {
    let (_servers, upstream) = servers();
    let connector = Connector::tcp(upstream.addr());
    let layer = cap(4).idle_timeout(Duration::from_millis(300));
    let pool: KeepAlive = layer.layer(connector.clone());
    let stalled = current_thread();
    let elsewhere = "http://elsewhere.test/".parse().unwrap();
    stalled.block_on(async { fetch(&pool, &elsewhere).await.unwrap() });
    let driven = Runtime::new().unwrap();
    driven.block_on(async {
        fetch(&pool, &upstream.uri("/")).await.unwrap();
        assert_eq!(connector.stats().live, 2);
        within(LONG, connector.settled(|stats| stats.live == 1)).await;
    });
}

/// A reservation for a call that is not polled kept its connection from all others.
#[test]
fn an_unpolled_calls_reservation_lapses() {
    let (_servers, upstream) = servers();
    let pool: KeepAlive = cap(1).layer(Connector::tcp(upstream.addr()));
    let (stalled, driven) = (current_thread(), Runtime::new().unwrap());
    driven.block_on(async {
        let mut held = get(&pool, &upstream.uri("/")).await.unwrap();
        let uri = upstream.uri("/");
        let mut call = Box::pin(get(&pool, &uri));
        {
            let _on_it = stalled.enter();
            assert!((&mut call).now_or_never().is_none());
        }
        http_body_util::BodyExt::frame(held.body_mut()).await;
        drop(held);
        let answer = within(Duration::from_secs(20), fetch(&pool, &upstream.uri("/"))).await;
        assert_eq!(answer.unwrap(), "ok");
        // And the call that was late is served when it is polled.
        within(LONG, call).await.unwrap();
    });
}

fn static_client(layer: &KeepAliveLayer, upstream: &Upstream) -> (usize, usize) {
    let pool: KeepAlive = layer.layer(Connector::tcp(upstream.addr()));
    let lost = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (pool, uri, lost) = (pool.clone(), upstream.uri("/"), lost.clone());
            std::thread::spawn(move || {
                for _ in 0..10 {
                    current_thread().block_on(async {
                        for _ in 0..3 {
                            let answer = within(LONG, fetch(&pool, &uri)).await;
                            lost.fetch_add(usize::from(answer.is_err()), Ordering::SeqCst);
                        }
                    });
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    (lost.load(Ordering::SeqCst), 240)
}

/// As a static client in a hundred tests, each with a runtime of its own.
#[test]
fn a_client_on_a_named_runtime_loses_nothing() {
    let (_servers, upstream) = servers();
    let named = Runtime::new().unwrap();
    let layer = cap(16).runtime(named.handle().clone());
    assert_eq!(static_client(&layer, &upstream), (0, 240));
}

/// Without one, a call can only be lost in flight on a connection of a runtime that ends. These are
/// idempotent and without a body, so they are sent again.
#[test]
fn a_client_across_runtimes_loses_few_calls() {
    let (_servers, upstream) = servers();
    let (lost, of) = static_client(&cap(16), &upstream);
    assert!(lost <= 2, "{lost} of {of}");
}

#[test]
fn a_runtime_without_timers_is_an_error() {
    let (_servers, upstream) = servers();
    let pool: KeepAlive = cap(1).layer(Connector::tcp(upstream.addr()));
    let bare = Builder::new_current_thread().enable_io().build().unwrap();
    let call = tower::ServiceExt::oneshot(pool.clone(), request("GET", &upstream.uri("/")));
    let error = bare.block_on(call).unwrap_err();
    assert_eq!(error.kind(), KeepAliveErrorKind::NoRuntime, "{error}");
    let whole = current_thread();
    whole.block_on(async { fetch(&pool, &upstream.uri("/")).await.unwrap() });
}

#[test]
fn callers_of_many_runtimes_share_one_origin() {
    let (_servers, upstream) = servers();
    let pool: KeepAlive = cap(4).layer(Connector::tcp(upstream.addr()));
    let runtimes: Vec<_> = (0..12).map(|_| Runtime::new().unwrap()).collect();
    let calls = runtimes.iter().flat_map(|runtime| {
        (0..10).map(|_| {
            let (pool, uri) = (pool.clone(), upstream.uri("/"));
            runtime
                .spawn(async move { fetch(&pool, &uri).await.map_err(|error| error.to_string()) })
        })
    });
    let calls: Vec<_> = calls.collect();
    let answers = runtimes[0].block_on(within(LONG, join_all(calls)));
    for answer in answers {
        assert_eq!(answer.unwrap().unwrap(), "ok");
    }
}
