//! Connections that leave HTTP: upgrades and CONNECT.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use support::{LONG, Stack, cap, fetch, read, send};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tollgate_core::CloseReason;
use tollgate_keep_alive::KeepAliveBody;
use tollgate_testing::upstream::Step;
use tollgate_testing::{Recorded, Recorder, Reply, Upstream, within};

fn upgrade(upstream: &Upstream, path: &str) -> Request<Empty<Bytes>> {
    Request::get(upstream.uri(path))
        .header("connection", "upgrade")
        .header("upgrade", "echo")
        .body(Empty::new())
        .unwrap()
}

/// The tunnel echoes, and has the only place until it is dropped.
async fn holds_the_lease(stack: &Stack, upstream: &Upstream, response: Response<KeepAliveBody>) {
    let upgraded = within(LONG, hyper::upgrade::on(response)).await.unwrap();
    let mut tunnel = hyper_util::rt::TokioIo::new(upgraded);
    tunnel.write_all(b"ping").await.unwrap();
    let mut answer = [0; 4];
    within(LONG, tunnel.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"ping");

    let (pool, uri) = (stack.pool.clone(), upstream.uri("/"));
    let next = tokio::spawn(async move { fetch(&pool, &uri).await.unwrap() });
    let stats = stack.settled(|stats| stats.queued == 1).await;
    assert_eq!((stats.open, stats.in_flight), (1, 1));
    assert_eq!(upstream.accepted(), 1, "the tunnel has the only place");
    drop(tunnel);
    assert_eq!(next.await.unwrap(), "ok");
    assert_eq!(stack.stats().closed_for(CloseReason::Upgraded), 1);
    assert_eq!(stack.connector.stats().peak_live, 1);
}

async fn upstream() -> Upstream {
    Upstream::start(|request| match (&*request.method, &*request.target) {
        ("CONNECT", "refused.test:443") => Reply::respond(403, "no"),
        ("CONNECT", _) => Reply::head(200).then(Step::EchoBytes),
        (_, "/chat") => Reply::upgrade("echo"),
        _ => Reply::ok("ok"),
    })
    .await
}

#[tokio::test]
async fn an_upgrade_holds_its_lease_until_dropped() {
    let upstream = upstream().await;
    let stack = Stack::new(&upstream, &cap(1));
    let response = send(&stack.pool, upgrade(&upstream, "/chat"))
        .await
        .unwrap();
    assert_eq!(response.status(), 101);
    holds_the_lease(&stack, &upstream, response).await;
}

#[tokio::test]
async fn a_connect_tunnel_holds_its_lease_until_dropped() {
    let upstream = upstream().await;
    let stack = Stack::new(&upstream, &cap(1));
    let request = Request::connect(upstream.uri("/"))
        .body(Empty::<Bytes>::new())
        .unwrap();
    let response = send(&stack.pool, request).await.unwrap();
    assert_eq!(response.status(), 200);
    holds_the_lease(&stack, &upstream, response).await;
    let target = &upstream.requests()[0].target;
    assert_eq!(*target, upstream.addr().to_string(), "authority form");
}

#[tokio::test]
async fn an_upgrade_not_taken_frees_its_place() {
    let upstream = upstream().await;
    let stack = Stack::new(&upstream, &cap(1));
    let response = send(&stack.pool, upgrade(&upstream, "/chat"))
        .await
        .unwrap();
    drop(response);
    assert_eq!(fetch(&stack.pool, &upstream.uri("/")).await.unwrap(), "ok");
    let stats = stack.settled(|stats| stats.in_flight == 0).await;
    assert_eq!(stats.closed_for(CloseReason::Upgraded), 1);
}

#[tokio::test]
async fn a_declined_upgrade_leaves_the_connection_in_use() {
    let upstream = upstream().await;
    let stack = Stack::new(&upstream, &cap(1));
    for _ in 0..2 {
        let response = send(&stack.pool, upgrade(&upstream, "/")).await.unwrap();
        assert_eq!(read(response).await.unwrap(), "ok");
    }
    assert_eq!(upstream.accepted(), 1);
}

/// The lease of a tunnel once ended without a word: a gauge of what is in flight never came down.
#[tokio::test(start_paused = true)]
async fn a_tunnel_releases_its_lease_at_its_end() {
    const TALK: Duration = Duration::from_secs(5);
    for taken in [true, false] {
        let (upstream, recorder) = (upstream().await, Recorder::of_pool());
        let stack = Stack::in_memory(&upstream, &cap(1).observer(recorder.clone()));
        let call = send(&stack.pool, upgrade(&upstream, "/chat"));
        let response = call.await.unwrap();
        if taken {
            let tunnel = hyper::upgrade::on(response).await.unwrap();
            tokio::time::sleep(TALK).await;
            assert!(recorder.seen().iter().all(|seen| seen.name() != "Released"));
            drop(tunnel);
        } else {
            drop(response);
        }
        stack.connector.settled(|stats| stats.live == 0).await;
        let seen = recorder.take();
        let closed = Recorded::Closed(1, CloseReason::Upgraded, 1);
        let [.., Recorded::Released(held), last] = &seen[..] else {
            panic!("{seen:?}");
        };
        assert_eq!(*last, closed);
        assert!(!taken || *held >= TALK, "{held:?}");
        let of = |name| seen.iter().filter(|seen| seen.name() == name).count();
        assert_eq!((of("Granted"), of("Released")), (1, 1));
    }
}
