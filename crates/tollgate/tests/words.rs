//! Every error says what, to where, after how long, and what to change.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::future::pending;
use std::io;
use std::time::Duration;

use http_body_util::BodyExt;
use support::words::says_all;
use support::{client_with, over_dead};
use tollgate::{
    Body, Classified, Client, ClientBuilder, ConnectErrorKind, Error, ErrorKind, RetryPolicy,
};
use tollgate_testing::{Connector, Gate, Reply, Upstream};

const LIMIT: Duration = Duration::from_millis(20);
const URI: &str = "http://words.internal/";

#[test]
fn each_kind_of_error_has_all_its_words() {
    for kind in ErrorKind::ALL {
        if *kind == ErrorKind::Decode && cfg!(not(feature = "json")) {
            continue;
        }
        let error = if *kind == ErrorKind::NoRuntime {
            outside_a_runtime()
        } else {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build().unwrap();
            runtime.block_on(met(*kind))
        };
        assert_eq!(error.kind(), *kind);
        says_all(&error);
    }
}

#[tokio::test(start_paused = true)]
async fn expired_timeout_is_named_as_in_the_builder() {
    let hangs = || tower::service_fn(|_| pending::<io::Result<std::vec::IntoIter<_>>>());
    let hour = Duration::from_secs(3600);
    for (client, clock, limit) in [
        (
            client_with(|b| b.resolver(hangs()).dns_timeout(LIMIT)),
            "raise dns_timeout",
            "may take 20ms",
        ),
        (
            client_with(|b| b.resolver(hangs()).connect_timeout(LIMIT)),
            "raise connect_timeout",
            "after 20ms",
        ),
        (
            client_with(|b| {
                let b = b.resolver(hangs()).dns_timeout(hour);
                b.origin(URI, |o| o.connect_timeout(LIMIT))
            }),
            "raise connect_timeout",
            "after 20ms",
        ),
    ] {
        let text = client.get(URI).await.unwrap_err().to_string();
        assert!(text.ends_with(clock) && text.contains(limit), "{text}");
        assert!(text.contains("in phase dns"), "{text}");
    }
}

#[tokio::test]
async fn expired_tcp_or_tls_timeout_is_named() {
    let hole = tollgate_testing::Hole::start([127, 0, 0, 1]).await;
    let client = client_with(|b| b.tcp_timeout(LIMIT));
    let text = failed(&client, &format!("http://{}/", hole.addr())).await;
    assert!(text.to_string().ends_with("raise tcp_timeout"), "{text}");

    #[cfg(feature = "tls")]
    {
        let silent = tollgate_testing::Listener::silent();
        let client = client_with(|b| b.tls(support::trusting_one()).tls_timeout(LIMIT));
        let uri = format!("https://{}/", silent.addr());
        let text = failed(&client, &uri).await;
        assert!(text.to_string().ends_with("raise tls_timeout"), "{text}");
    }
}

/// An error of this kind, by an event that brings it about.
async fn met(kind: ErrorKind) -> Error {
    let dial = match kind {
        ErrorKind::Dns => ConnectErrorKind::Dns,
        ErrorKind::ConnectRefused => ConnectErrorKind::Refused,
        ErrorKind::Unreachable => ConnectErrorKind::Unreachable,
        ErrorKind::PortsExhausted => ConnectErrorKind::PortsExhausted,
        ErrorKind::TooManyOpenFiles => ConnectErrorKind::TooManyOpenFiles,
        ErrorKind::Tls => ConnectErrorKind::Tls,
        ErrorKind::Blocked => ConnectErrorKind::Blocked,
        ErrorKind::Connect => ConnectErrorKind::Other,
        _ => return met_beyond_the_dial(kind).await,
    };
    let connector = tower::service_fn(move |_| async move {
        let failed = Classified::new(dial).because("planted");
        Err::<hyper_util::rt::TokioIo<tokio::net::TcpStream>, _>(failed)
    });
    failed(&client_with(|b| b.connector(connector)), URI).await
}

async fn met_beyond_the_dial(kind: ErrorKind) -> Error {
    match kind {
        ErrorKind::InvalidRequest => failed(&client_with(|b| b), "/only/a/path").await,
        ErrorKind::QueueFull => behind_another(|b| b.max_waiting(0)).await,
        ErrorKind::QueueTimeout => behind_another(|b| b.acquire_timeout(LIMIT)).await,
        ErrorKind::ConnectTimeout { .. } => {
            let hangs = tower::service_fn(|_| {
                pending::<io::Result<hyper_util::rt::TokioIo<tokio::net::TcpStream>>>()
            });
            failed(
                &client_with(|b| b.connector(hangs).connect_timeout(LIMIT)),
                URI,
            )
            .await
        }
        ErrorKind::ClosedBeforeSent => {
            let upstream = Upstream::builder().on_accept(|_| Reply::nothing().close());
            let upstream = upstream.start().await;
            let addr = upstream.addr();
            failed(&client_with(|b| over_dead(b, addr)), URI).await
        }
        ErrorKind::ClosedAfterSent => answered(Reply::nothing().close(), |b| b).await,
        ErrorKind::Exchange => {
            let other = Reply::raw("SSH-2.0-OpenSSH_9.9\r\n\r\n").close();
            answered(other, |b| b).await
        }
        ErrorKind::ResponseTimeout => answered(Reply::never(), |b| b.response_timeout(LIMIT)).await,
        ErrorKind::Timeout => answered(Reply::never(), |b| b.timeout(LIMIT)).await,
        ErrorKind::Body => broken_off(Reply::close, |b| b).await,
        ErrorKind::BodyTimeout => broken_off(Reply::hold, |b| b.body_idle_timeout(LIMIT)).await,
        ErrorKind::Deadlock => deadlocked().await,
        ErrorKind::BodyTooLarge => read(async |body: Body| body.collect_within(1).await)
            .await
            .unwrap_err(),
        #[cfg(feature = "json")]
        ErrorKind::Decode => read(async |body: Body| body.json::<u8>(9).await)
            .await
            .unwrap_err(),
        ErrorKind::Closed => {
            let client = client_with(|b| b);
            client.close();
            failed(&client, URI).await
        }
        other => panic!("no event for {other:?}"),
    }
}

async fn failed(client: &Client, uri: &str) -> Error {
    client.get(uri.to_owned()).await.unwrap_err()
}

/// The one that waits while the only connection is busy.
async fn behind_another(options: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Error {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Reply::ok("ok").when(&held)).await;
    let connector = Connector::memory(&upstream);
    let client = client_with(|b| options(b.connector(connector).max_connections_per_origin(1)));
    let first = tokio::spawn(client.get(URI));
    gate.reached(1).await;
    let error = failed(&client, URI).await;
    first.abort();
    error
}

/// Only what is about a clock has one that may strike: a runner that stalls would be told as it.
async fn answered(reply: Reply, options: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Error {
    let upstream = Upstream::start(move |_| reply.clone()).await;
    let connector = Connector::memory(&upstream);
    let client = client_with(|b| options(b.connector(connector).retry(RetryPolicy::NEVER)));
    failed(&client, URI).await
}

/// What the body says that ends so before its end.
async fn broken_off(
    end: fn(Reply) -> Reply,
    options: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> Error {
    let reply = Reply::head(200)
        .header("content-length", "10")
        .body("hello");
    let reply = end(reply);
    let upstream = Upstream::start(move |_| reply.clone()).await;
    let connector = Connector::memory(&upstream);
    let client = client_with(|b| options(b.connector(connector)));
    let response = client.get(URI).await.unwrap();
    response.into_body().collect().await.unwrap_err()
}

/// A second call for the only connection, which the same scope holds.
async fn deadlocked() -> Error {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let connector = Connector::memory(&upstream);
    let client = client_with(|b| {
        let b = b.connector(connector).max_connections_per_origin(1);
        b.detect_deadlocks(true)
    });
    tollgate::scope(async {
        let held = client.get(URI).await.unwrap();
        let error = failed(&client, URI).await;
        drop(held);
        error
    })
    .await
}

/// The outcome of reading `ok` so.
async fn read<T>(how: impl AsyncFnOnce(Body) -> T) -> T {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let connector = Connector::memory(&upstream);
    let response = client_with(|b| b.connector(connector)).get(URI).await;
    how(response.unwrap().into_body()).await
}

fn outside_a_runtime() -> Error {
    let client = client_with(|b| b);
    let mut call = std::pin::pin!(client.get(URI));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match call.as_mut().poll(&mut cx) {
        std::task::Poll::Ready(Err(error)) => error,
        other => panic!("{other:?}"),
    }
}
