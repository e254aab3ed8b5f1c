//! Requests that lose their connection, and their place in the queue.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join_all;
use http::Uri;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;
use tollgate_core::CloseReason;
use tollgate_keep_alive::KeepAlive;
use tollgate_testing::io::Plan;
use tollgate_testing::{Connector, Gate, Reply, Upstream, within};
use tower::{Layer, Service};

use super::support::{LONG, cap, fetch, get, read, request};

/// A driver has a quarter of a second in which to run.
const FOUR_LOOKS: Duration = Duration::from_secs(1);

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Opens so many connections that are idle then, on the current runtime.
async fn warm(
    connections: usize,
    pool: &KeepAlive,
    uri: &Uri,
    answers: &Gate,
) -> Vec<Result<Bytes, tollgate_core::BoxError>> {
    let calls = join_all((0..connections).map(|_| fetch(pool, uri)));
    // None is answered before all are sent: a call that a sibling's connection served would leave
    // its own dial behind, on a runtime that is not driven.
    let opening = async {
        answers.reached(connections).await;
        answers.open();
    };
    tokio::join!(calls, opening).0
}

/// The one that asked again last was once the first to be served.
#[tokio::test(start_paused = true)]
async fn retries_are_sent_in_order_of_arrival() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |request| match &*request.target {
        "/warm" => Reply::ok("ok").when(&held),
        _ if request.connection < 3 => Reply::nothing().wait(&held).close(),
        _ => Reply::ok("ok"),
    })
    .await;
    let dials = Gate::opened();
    let dialled = dials.clone();
    let connector = Connector::memory(&upstream).script(move |_| Plan::connect().when(&dialled));
    let pool: KeepAlive = cap(3).layer(connector);
    let warm_uri = upstream.uri("/warm");
    let warmed = warm(3, &pool, &warm_uri, &gate).await;
    assert!(warmed.iter().all(Result::is_ok));
    gate.close();
    let mut calls = Vec::new();
    for path in ["/first", "/second", "/third"] {
        let mut call = Box::pin(pool.clone().call(request("GET", &upstream.uri(path))));
        assert!((&mut call).now_or_never().is_none());
        calls.push(call);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    gate.reached(3).await;
    // From now on one at a time, behind one that never had a turn.
    let origin = warm_uri.to_string().parse().unwrap();
    pool.set_max_connections(&origin, super::n(1)).unwrap();
    dials.close();
    let last = upstream.uri("/last");
    let mut last = Box::pin(get(&pool, &last));
    assert!((&mut last).now_or_never().is_none());
    gate.open();
    tokio::time::sleep(Duration::from_millis(1)).await;
    // They ask again in the order in which they are polled.
    let mut calls: Vec<_> = calls.into_iter().rev().collect();
    for call in &mut calls {
        assert!(call.now_or_never().is_none(), "its connection is lost");
    }
    dials.open();
    let served = join_all(calls.into_iter().map(|call| async {
        read(within(LONG, call).await.unwrap()).await.unwrap();
    }));
    let last = async { read(last.await.unwrap()).await.unwrap() };
    tokio::join!(last, served);
    let arrived = upstream.requests();
    let again: Vec<_> = arrived[6..].iter().map(|one| &*one.target).collect();
    assert_eq!(again, ["/first", "/second", "/third", "/last"]);
}

/// A call met one dead connection after the other, and ended with the fourth, without one fresh dial.
#[test]
fn four_dead_connections_cost_a_call_one_dial() {
    let (servers, client) = (Runtime::new().unwrap(), current_thread());
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = servers.block_on(Upstream::start(move |request| match &*request.target {
        "/warm" => Reply::ok("ok").when(&held),
        _ => Reply::ok("ok"),
    }));
    let pool: KeepAlive = cap(8).layer(Connector::tcp(upstream.addr()));
    let uri = upstream.uri("/warm");
    let warmed = client.block_on(warm(4, &pool, &uri, &gate));
    assert!(warmed.iter().all(Result::is_ok));
    // The pool's tasks do not run while they close.
    servers.block_on(async {
        upstream.settled(|stats| stats.idle == 4).await;
        upstream.close_idle();
        upstream.settled(|stats| stats.live == 0).await;
    });
    let answer = client.block_on(fetch(&pool, &upstream.uri("/")));
    assert_eq!(answer.unwrap(), "ok");
    assert_eq!(upstream.accepted(), 5);
}

/// The same where nothing tells that they are dead: each would cost the time in which a driver is to run.
#[test]
fn four_undriven_connections_cost_one_look() {
    let servers = Runtime::new().unwrap();
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = servers.block_on(Upstream::start(move |_| Reply::ok("ok").when(&held)));
    let pool: KeepAlive = cap(8).layer(Connector::tcp(upstream.addr()));
    let stalled = current_thread();
    let uri = upstream.uri("/");
    let warmed = stalled.block_on(warm(4, &pool, &uri, &gate));
    assert!(warmed.iter().all(Result::is_ok));
    let driven = Runtime::new().unwrap();
    driven.block_on(async {
        let started = Instant::now();
        assert_eq!(within(LONG, fetch(&pool, &uri)).await.unwrap(), "ok");
        let took = started.elapsed();
        assert!(took < FOUR_LOOKS, "{took:?}");
    });
    assert_eq!(upstream.accepted(), 5);
    drop(stalled);
}

/// The rest of a body that was dropped was at hand, and the connection lived on: it ends for a reason of
/// its own.
#[tokio::test(start_paused = true)]
async fn a_drained_body_is_no_close_reason() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| {
        Reply::head(200)
            .header("content-length", "8")
            .body("half")
            .wait(&held)
            .body("rest")
    })
    .await;
    let pool: KeepAlive = cap(1).layer(Connector::memory(&upstream));
    let uri = upstream.uri("/");
    let origin = uri.to_string().parse().unwrap();
    let response = get(&pool, &uri).await.unwrap();
    gate.reached(1).await;
    gate.open();
    // It has arrived, and nothing has read it.
    tokio::time::sleep(Duration::from_millis(1)).await;
    drop(response);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let stats = pool.stats(&origin).unwrap();
    assert_eq!((stats.bodies_drained, stats.idle), (1, 1), "{stats:?}");
    upstream.close_idle();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let stats = pool.stats(&origin).unwrap();
    assert_eq!(stats.closed, 1, "{stats:?}");
    assert_eq!(stats.closed_for(CloseReason::PeerEof), 1, "{stats:?}");
}
