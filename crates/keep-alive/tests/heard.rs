//! What was sent once is not unsent because its second attempt was: the error of a request that is
//! sent once more is about an attempt that sent nothing, and once said so of the whole request.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use hyper_util::rt::TokioIo;
use support::{cap, fetch, get};
use tokio::net::TcpStream;
use tollgate_keep_alive::{KeepAlive, KeepAliveError, KeepAliveErrorKind};
use tollgate_testing::io::Plan;
use tollgate_testing::{Connector, Reply, Upstream};
use tower::Layer;

/// Answers the first request of a connection and closes at the second.
async fn upstream() -> Upstream {
    Upstream::start(|request| match request.nth {
        0 => Reply::ok("ok"),
        _ => Reply::nothing().close(),
    })
    .await
}

/// A pool whose dials after the first go as planned.
fn pool(upstream: &Upstream, then: Plan) -> (KeepAlive, Connector) {
    let connector = Connector::tcp(upstream.addr()).script(move |dial| match dial.nth {
        0 => Plan::connect(),
        _ => then.clone(),
    });
    (cap(1).layer(connector.clone()), connector)
}

#[track_caller]
fn was_heard(error: &KeepAliveError, kind: KeepAliveErrorKind, upstream: &Upstream) {
    assert_eq!(error.kind(), kind);
    assert!(!error.nothing_sent(), "{error}");
    let text = error.to_string();
    assert!(text.contains("may have acted on it"), "{text}");
    assert!(!text.contains("not sent"), "{text}");
    assert_eq!(upstream.requests().len(), 2, "the second was read");
}

#[tokio::test]
async fn where_the_next_dial_fails() {
    let upstream = upstream().await;
    let (pool, _) = pool(&upstream, Plan::fail(ErrorKind::ConnectionRefused));
    fetch(&pool, &upstream.uri("/")).await.unwrap();
    let error = get(&pool, &upstream.uri("/")).await.unwrap_err();
    was_heard(&error, KeepAliveErrorKind::Connect, &upstream);
    // Another request knows nothing of that one.
    let other = get(&pool, &upstream.uri("/")).await.unwrap_err();
    assert!(other.nothing_sent(), "{other}");
}

#[tokio::test]
async fn where_the_pool_ends_meanwhile() {
    let upstream = upstream().await;
    let (pool, connector) = pool(&upstream, Plan::hang());
    fetch(&pool, &upstream.uri("/")).await.unwrap();
    let (caller, uri) = (pool.clone(), upstream.uri("/"));
    let call = tokio::spawn(async move { get(&caller, &uri).await.map(drop) });
    connector.settled(|stats| stats.calls == 2).await;
    pool.close();
    let error = call.await.unwrap().unwrap_err();
    was_heard(&error, KeepAliveErrorKind::Closed, &upstream);
}

#[tokio::test]
async fn where_the_next_connections_close_at_once() {
    let upstream = upstream().await;
    let dead = Upstream::builder().on_accept(|_| Reply::nothing().close());
    let dead = dead.start().await;
    let (addrs, dials) = (
        [upstream.addr(), dead.addr()],
        Arc::new(AtomicUsize::new(0)),
    );
    let pool = cap(1).layer(tower::service_fn(move |_: http::Uri| {
        let nth = dials.fetch_add(1, SeqCst).min(1);
        async move {
            let stream = TcpStream::connect(addrs[nth]).await?;
            if nth > 0 {
                // Handed over when its end is there to be read.
                stream.readable().await?;
            }
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    }));
    fetch(&pool, &upstream.uri("/")).await.unwrap();
    let error = get(&pool, &upstream.uri("/")).await.unwrap_err();
    was_heard(&error, KeepAliveErrorKind::ClosedBeforeSent, &upstream);
}
