//! What runs in the background: a task for each connection, one for the clocks, and none for nothing.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::pin::Pin;
use std::time::Duration;

use futures_util::future::join_all;
use support::{Stack, cap, fetch, get, holding, request};
use tokio::runtime::Handle;
use tollgate_testing::{Connector, Gate, Reply, Upstream, eventually};
use tower::{Layer, ServiceExt};

fn alive() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// The connections are in memory: the upstream has a task for each, too.
#[tokio::test(start_paused = true)]
async fn one_task_keeps_the_clocks_of_all_origins() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Reply::ok("ok").when(&held)).await;
    let idle = alive();
    let pool = cap(3).layer(Connector::memory(&upstream));
    assert_eq!(alive(), idle, "a pool that nobody has used");

    let uri = upstream.uri("/");
    let calls = join_all((0..3).map(|_| fetch(&pool, &uri)));
    tokio::join!(calls, async {
        gate.reached(3).await;
        gate.open();
    });
    assert_eq!(alive(), idle + 3 * 2 + 1);
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(
        alive(),
        idle + 1,
        "no connection is left, the origin is remembered"
    );
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(alive(), idle, "an idle pool");

    fetch(&pool, &uri).await.unwrap();
    assert_eq!(alive(), idle + 2 + 1, "and it starts again");
    drop(pool);
    eventually(|| alive() == idle).await;
}

#[tokio::test]
async fn dropping_everything_midway_leaks_no_task_or_socket() {
    let gate = Gate::new();
    let upstream = holding(&gate).await;
    let idle = alive();
    let Stack {
        pool, connector, ..
    } = Stack::new(&upstream, &cap(4));
    let unread = get(&pool, &upstream.uri("/")).await.unwrap();
    let uri = upstream.uri("/held");
    let mut calls: Vec<_> = (0..9)
        .map(|_| Box::pin(pool.clone().oneshot(request("GET", &uri))))
        .collect();
    let polled = join_all(calls.iter_mut().map(Pin::as_mut));
    let some_wait = gate.reached(3);
    tokio::select! {
        _ = polled => panic!("they are held"),
        () = some_wait => {}
    }
    assert!(connector.stats().live > 0);
    // Everything that a caller has, at once: the calls, an unread body, the client.
    drop((calls, unread, pool));
    connector
        .settled(|stats| stats.live == 0 && stats.dialling == 0)
        .await;
    upstream.settled(|stats| stats.live == 0).await;
    eventually(|| alive() == idle).await;
}

#[tokio::test]
async fn nothing_is_dialled_after_the_demand_is_gone() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let stack = Stack::new(&upstream, &cap(64));
    let uri = upstream.uri("/");
    join_all((0..500).map(|_| fetch(&stack.pool, &uri))).await;
    // And demand that is gone before it was served.
    let mut gone: Vec<_> = (0..500)
        .map(|_| Box::pin(stack.pool.clone().oneshot(request("GET", &uri))))
        .collect();
    for call in &mut gone {
        let _pending = futures_util::FutureExt::now_or_never(call.as_mut());
    }
    drop(gone);
    stack
        .settled(|s| {
            s.in_flight + s.queued + s.connecting == 0 && s.opened == s.closed + s.open as u64
        })
        .await;
    upstream.settled(|stats| stats.live == stats.idle).await;
    // The server's listener and the pool's one task; and two for each connection that took in the
    // answer of a call that had left.
    eventually(|| alive() == 2 + 2 * upstream.live()).await;
    let (accepted, tasks) = (upstream.accepted(), alive());
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!((upstream.accepted(), alive()), (accepted, tasks));
        assert_eq!(stack.connector.stats().dialling, 0);
    }
}
