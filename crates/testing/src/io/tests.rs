use std::io::ErrorKind;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection as _};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower_service::Service;

use super::*;
use crate::{Gate, Reply, Upstream};

const URI: &str = "http://billing.internal/";

async fn connect(connector: &Connector) -> std::io::Result<CountedIo<Stream>> {
    let mut connector = connector.clone();
    std::future::poll_fn(|cx| connector.poll_ready(cx)).await?;
    connector.call(Uri::from_static(URI)).await
}

async fn exchange(io: CountedIo<Stream>) {
    let mut io = TokioIo::new(io);
    io.write_all(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    io.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
}

#[tokio::test]
async fn connector_reaches_upstream_in_memory_and_tcp() {
    let upstream = Upstream::start(|_| Reply::ok("hello")).await;
    for connector in [
        Connector::memory(&upstream),
        Connector::tcp(upstream.addr()),
    ] {
        let io = connect(&connector).await.unwrap();
        assert_eq!(connector.stats().live, 1);
        exchange(io).await;
        let stats = connector.stats();
        assert_eq!(
            (stats.calls, stats.opened, stats.live, stats.peak_live),
            (1, 1, 0, 1)
        );
        assert_eq!(connector.uris(), [URI]);
    }
    upstream
        .settled(|stats| stats.accepted == 2 && stats.live == 0)
        .await;
}

#[tokio::test]
async fn live_counts_held_connections_despite_peer_reset() {
    let upstream = Upstream::builder().start().await;
    let connector = Connector::memory(&upstream);
    let io = connect(&connector).await.unwrap();
    upstream.reset_all();
    upstream.settled(|stats| stats.live == 0).await;
    assert_eq!(connector.stats().live, 1);
    drop(io);
    assert_eq!(connector.stats().live, 0);
}

#[tokio::test(start_paused = true)]
async fn dials_wait_fail_hang_or_cancel_as_planned() {
    let upstream = Upstream::builder().start().await;
    let gate = Gate::new();
    let wait = gate.clone();
    let connector = Connector::memory(&upstream).script(move |dial| match dial.nth {
        0 => Plan::connect().after(Duration::from_secs(2)).when(&wait),
        1 => Plan::fail(ErrorKind::ConnectionRefused),
        _ => Plan::hang(),
    });
    let start = tokio::time::Instant::now();
    let slow = tokio::spawn({
        let connector = connector.clone();
        async move { connect(&connector).await }
    });
    gate.reached(1).await;
    assert_eq!(start.elapsed(), Duration::from_secs(2));
    let error = connect(&connector).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let mut hanging = task::spawn(connect(&connector));
    assert_pending!(hanging.poll());
    assert_eq!(connector.stats().dialling, 2);
    drop(hanging);
    gate.open();
    drop(slow.await.unwrap().unwrap());
    let stats = connector.stats();
    assert_eq!(
        (stats.calls, stats.dialling, stats.peak_dialling),
        (3, 0, 2)
    );
    assert_eq!((stats.opened, stats.failed, stats.cancelled), (1, 1, 1));
}

#[tokio::test]
async fn panics_in_call_or_future_count_as_failed() {
    let upstream = Upstream::builder().start().await;
    let connector = Connector::memory(&upstream).script(|dial| match dial.nth {
        0 => Plan::panic(),
        _ => Plan::panic_in_call(),
    });
    for _ in 0..2 {
        let outcome = AssertUnwindSafe(connect(&connector)).catch_unwind().await;
        assert!(outcome.is_err());
    }
    let stats = connector.stats();
    assert_eq!((stats.failed, stats.dialling, stats.cancelled), (2, 0, 0));
}

#[tokio::test]
async fn gated_readiness_is_not_copied_to_clones() {
    let upstream = Upstream::builder().start().await;
    let gate = Gate::new();
    let connector = Connector::memory(&upstream).ready_when(&gate);
    let mut one = task::spawn(connector.clone());
    assert_pending!(one.enter(|cx, mut c| c.poll_ready(cx)));
    gate.admit(1);
    assert!(one.is_woken());
    assert_ready_ok!(one.enter(|cx, mut c| c.poll_ready(cx)));
    let mut two = task::spawn(one.clone());
    assert_pending!(two.enter(|cx, mut c| c.poll_ready(cx)));
    drop(two);
    drop(
        one.enter(|_, mut c| c.call(Uri::from_static(URI)))
            .await
            .unwrap(),
    );
    assert_pending!(one.enter(|cx, mut c| c.poll_ready(cx)));
}

#[tokio::test]
#[should_panic(expected = "called without being polled ready")]
async fn a_call_without_readiness_is_caught() {
    let upstream = Upstream::builder().start().await;
    let mut connector = Connector::memory(&upstream);
    drop(connector.call(Uri::from_static(URI)));
}

#[tokio::test]
async fn connections_say_of_themselves_what_they_are_told() {
    let upstream = Upstream::builder().start().await;
    let connector = Connector::memory(&upstream).connected(|| Connected::new().negotiated_h2());
    let io = connect(&connector).await.unwrap();
    assert!(io.connected().is_negotiated_h2());
}

#[tokio::test]
async fn an_upstream_that_is_gone_refuses() {
    let upstream = Upstream::builder().start().await;
    let connector = Connector::memory(&upstream);
    drop(upstream);
    let error = connect(&connector).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_connection_can_be_made_without_a_connector() {
    let upstream = Upstream::start(|_| Reply::ok("hello")).await;
    exchange(CountedIo::memory(&upstream)).await;
    assert_eq!(upstream.stats().answered, 1);
}

#[tokio::test]
async fn what_is_written_can_be_listened_to() {
    let upstream = Upstream::start(|_| Reply::ok("hello")).await;
    let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let tap = heard.clone();
    let connector =
        Connector::memory(&upstream).tap(move |bytes| tap.lock().unwrap().extend_from_slice(bytes));
    let mut io = TokioIo::new(connect(&connector).await.unwrap());
    let [one, two] = [
        &b"GET / HTTP/1.1\r\n"[..],
        &b"connection: close\r\n\r\n"[..],
    ]
    .map(std::io::IoSlice::new);
    let written = io.write_vectored(&[one, two]).await.unwrap();
    assert_eq!(heard.lock().unwrap().len(), written);
    let rest = [&*one, &*two].concat();
    io.write_all(&rest[written..]).await.unwrap();
    assert_eq!(*heard.lock().unwrap(), rest);
}
