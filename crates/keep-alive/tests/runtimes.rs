//! Runtimes that end while a pool and its connections go on.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::{LONG, assert_at_rest, cap, fetch, holding};
use tokio::sync::Notify;
use tollgate_keep_alive::KeepAlive;
use tollgate_testing::{Connector, Gate, Recorded, Recorder, Reply, Upstream, eventually, within};
use tower::{Layer, ServiceExt};

/// Runs `work` on a runtime of its own, and drops that runtime with whatever is left in it.
fn on_own_runtime<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let out = runtime.block_on(work);
    runtime.shutdown_timeout(Duration::from_secs(5));
    out
}

#[test]
fn a_client_outlives_its_first_runtime() {
    let servers = tokio::runtime::Runtime::new().unwrap();
    let gate = Gate::new();
    let upstream = servers.block_on(holding(&gate));
    let connector = Connector::tcp(upstream.addr());
    let pool: KeepAlive = cap(4).layer(connector.clone());
    on_own_runtime(async {
        fetch(&pool, &upstream.uri("/")).await.unwrap();
        for _ in 0..8 {
            let (pool, uri) = (pool.clone(), upstream.uri("/held"));
            tokio::spawn(async move { fetch(&pool, &uri).await });
        }
        gate.reached(4).await;
    });
    assert_eq!(
        connector.stats().live,
        0,
        "the runtime took its sockets along"
    );
    on_own_runtime(async {
        assert_eq!(fetch(&pool, &upstream.uri("/")).await.unwrap(), "ok");
        let origin = upstream.uri("/").to_string().parse().unwrap();
        eventually(|| pool.stats(&origin).unwrap().in_flight == 0).await;
        assert_at_rest(&pool.stats(&origin).unwrap());
    });
}

/// Such a dial once began for an observer and never ended: its gauge of dials stayed up.
#[test]
fn a_dial_lost_with_its_runtime_is_repeated() {
    let servers = tokio::runtime::Runtime::new().unwrap();
    let upstream = servers.block_on(Upstream::start(|_| Reply::ok("ok")));
    let (dialled, first) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(true)));
    let (connector, dials) = (Connector::tcp(upstream.addr()), dialled.clone());
    let connector = tower::service_fn(move |uri| {
        let hangs = first.swap(false, Ordering::SeqCst);
        dials.notify_one();
        let connector = connector.clone();
        async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            connector.oneshot(uri).await
        }
    });
    let recorder = Recorder::of_pool();
    let pool = cap(1).observer(recorder.clone()).layer(connector);
    on_own_runtime(async {
        let (pool, uri) = (pool.clone(), upstream.uri("/"));
        tokio::spawn(async move { fetch(&pool, &uri).await });
        dialled.notified().await;
    });
    let dials = |seen: Vec<Recorded>| -> Vec<Recorded> {
        let is_dial = |seen: &Recorded| {
            matches!(
                seen,
                Recorded::ConnectStarted | Recorded::ConnectFailed | Recorded::Opened(_)
            )
        };
        seen.into_iter().filter(is_dial).collect()
    };
    assert_eq!(
        dials(recorder.take()),
        [Recorded::ConnectStarted, Recorded::ConnectFailed]
    );
    on_own_runtime(async {
        assert_eq!(fetch(&pool, &upstream.uri("/")).await.unwrap(), "ok");
    });
    assert_eq!(
        dials(recorder.take()),
        [Recorded::ConnectStarted, Recorded::Opened(1)]
    );
    let origin = upstream.uri("/").to_string().parse().unwrap();
    let stats = pool.stats(&origin).unwrap();
    assert_eq!(stats.connect_failures, 0, "nobody failed because of it");
}

/// The task that keeps the clocks once ended with the runtime of the first caller, and connections of
/// another runtime idled for ever.
#[test]
fn clocks_go_on_after_their_runtime_ends() {
    let servers = tokio::runtime::Runtime::new().unwrap();
    let gate = Gate::new();
    let upstream = servers.block_on(holding(&gate));
    let connector = Connector::tcp(upstream.addr());
    // Longer than it takes to end a runtime, which one connection is to survive.
    let layer = cap(2).idle_timeout(Duration::from_secs(2));
    let pool: KeepAlive = layer.layer(connector.clone());
    let second = tokio::runtime::Runtime::new().unwrap();
    on_own_runtime(async {
        let (held, uri) = (upstream.uri("/held"), upstream.uri("/"));
        // One connection here, with the clocks, and one there.
        let busy = tokio::spawn({
            let pool = pool.clone();
            async move { fetch(&pool, &held).await }
        });
        gate.reached(1).await;
        let there = pool.clone();
        second
            .spawn(async move { fetch(&there, &uri).await.map(drop).unwrap() })
            .await
            .unwrap();
        gate.open();
        busy.await.unwrap().unwrap();
    });
    second.block_on(async {
        connector.settled(|stats| stats.live == 1).await;
        fetch(&pool, &upstream.uri("/")).await.unwrap();
        assert_eq!(upstream.accepted(), 2);
        within(LONG, connector.settled(|stats| stats.live == 0)).await;
    });
}
