//! Every limit of time, under a clock that stands still: exact to the millisecond.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use http_body_util::BodyExt;
use support::client_with;
use tokio::time::Instant;
use tollgate::{Client, ErrorKind, Phase, Protocol};
use tollgate_testing::{Connector, Gate, Hole, Listener, Reply, Upstream};

const LIMIT: Duration = Duration::from_millis(136);
const URI: &str = "http://billing.internal/";

/// The call fails in this way, this long after it began.
async fn fails_after(client: &Client, uri: &str, limit: Duration, kind: ErrorKind) {
    let started = Instant::now();
    let error = client.get(uri).await.err().unwrap();
    assert_eq!((error.kind(), started.elapsed()), (kind, limit), "{error}");
    assert!(error.is_timeout());
}

#[tokio::test(start_paused = true)]
async fn response_timeout_counts_from_the_call() {
    let upstream = Upstream::start(|_| Reply::never()).await;
    let client = client_with(|b| {
        b.connector(Connector::memory(&upstream))
            .response_timeout(LIMIT)
    });
    fails_after(&client, URI, LIMIT, ErrorKind::ResponseTimeout).await;
    // Not from the first poll: a call is in the queue, or on its way, as soon as it exists.
    let call = client.get(URI);
    tokio::time::sleep(LIMIT * 3).await;
    let started = Instant::now();
    assert_eq!(call.await.unwrap_err().kind(), ErrorKind::ResponseTimeout);
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn response_timeout_covers_the_queue_wait() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Reply::ok("ok").when(&held)).await;
    let connector = Connector::memory(&upstream);
    let client = client_with(|b| {
        b.connector(connector)
            .max_connections_per_origin(1)
            .response_timeout(LIMIT)
    });
    let first = tokio::spawn(client.get(URI));
    gate.reached(1).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let second = tokio::spawn({
        let client = client.clone();
        async move { fails_after(&client, URI, LIMIT, ErrorKind::ResponseTimeout).await }
    });
    assert_eq!(
        first.await.unwrap().unwrap_err().kind(),
        ErrorKind::ResponseTimeout
    );
    second.await.unwrap();
    assert_eq!(client.stats(URI).unwrap().queued, 0);
}

#[tokio::test(start_paused = true)]
async fn ready_answer_wins_over_an_expired_timeout() {
    let upstream = Upstream::start(|_| Reply::ok("ok").after(LIMIT / 2)).await;
    let client = client_with(|b| {
        b.connector(Connector::memory(&upstream))
            .response_timeout(LIMIT)
    });
    // Over a connection that is there, so that nothing remains to be done but to take the answer.
    assert!(client.get(URI).await.is_ok());
    let mut call = pin!(client.get(URI));
    let began = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_pending())).await;
    assert!(began);
    tokio::time::sleep(LIMIT * 2).await;
    assert_eq!(call.await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn body_idle_timeout_counts_only_the_peers_silence() {
    let upstream = Upstream::start(|_| {
        Reply::head(200)
            .header("content-length", "10")
            .body("hello")
            .delay(LIMIT / 2)
            .body("you")
            .hold()
    })
    .await;
    let client = client_with(|b| {
        b.connector(Connector::memory(&upstream))
            .body_idle_timeout(LIMIT)
    });
    let mut body = client.get(URI).await.unwrap().into_body();
    // A reader that does not read is not timed.
    tokio::time::sleep(LIMIT * 5).await;
    while let Some(Ok(_)) = Some(body.frame().await.unwrap()) {}
    let started = Instant::now();
    drop(body);

    let mut body = client.get(URI).await.unwrap().into_body();
    let mut seen = 0;
    let error = loop {
        match body.frame().await.unwrap() {
            Ok(frame) => seen += frame.data_ref().unwrap().len(),
            Err(error) => break error,
        }
    };
    assert_eq!((seen, error.kind()), (8, ErrorKind::BodyTimeout));
    assert_eq!(started.elapsed(), LIMIT / 2 + LIMIT);
}

#[tokio::test(start_paused = true)]
async fn each_connect_phase_has_its_own_timeout() {
    let hangs = tower::service_fn(|_| std::future::pending::<io::Result<std::vec::IntoIter<_>>>());
    let client = client_with(|b| b.resolver(hangs).dns_timeout(LIMIT));
    let timed_out = |phase| ErrorKind::ConnectTimeout { phase };
    fails_after(&client, URI, LIMIT, timed_out(Phase::Dns)).await;

    let hole = Hole::start([127, 0, 0, 1]).await;
    let client = client_with(|b| b.tcp_timeout(LIMIT));
    let uri = format!("http://{}/", hole.addr());
    fails_after(&client, &uri, LIMIT, timed_out(Phase::Tcp)).await;

    #[cfg(feature = "tls")]
    {
        let stalling = Listener::silent();
        let client = client_with(|b| b.tls(support::trusting_one()).tls_timeout(LIMIT));
        let uri = format!("https://{}/", stalling.addr());
        fails_after(&client, &uri, LIMIT, timed_out(Phase::Tls)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_connect_budget_is_exact_in_each_phase() {
    let hangs = tower::service_fn(|_| std::future::pending::<io::Result<std::vec::IntoIter<_>>>());
    let client = client_with(|b| b.resolver(hangs).connect_timeout(LIMIT));
    let timed_out = |phase| ErrorKind::ConnectTimeout { phase };
    fails_after(&client, URI, LIMIT, timed_out(Phase::Dns)).await;
    let hole = Hole::start([127, 0, 0, 1]).await;
    let client = client_with(|b| b.connect_timeout(LIMIT));
    let uri = format!("http://{}/", hole.addr());
    fails_after(&client, &uri, LIMIT, timed_out(Phase::Tcp)).await;

    let silent = Listener::silent();
    let addr = silent.addr();
    #[cfg(feature = "tls")]
    {
        let client = client_with(|b| b.tls(support::trusting_one()).connect_timeout(LIMIT));
        let uri = format!("https://{addr}/");
        fails_after(&client, &uri, LIMIT, timed_out(Phase::Tls)).await;
    }
    let client = client_with(|b| b.connect_timeout(LIMIT).protocol(Protocol::Http2));
    let uri = format!("http://{addr}/");
    fails_after(&client, &uri, LIMIT, timed_out(Phase::Preface)).await;
}

#[tokio::test(start_paused = true)]
async fn keep_alive_hint_is_capped_by_client() {
    let upstream = Upstream::start(|_| Reply::ok("ok").header("keep-alive", "timeout=50")).await;
    let minute = Duration::from_secs(60);
    for (client, lasts) in [
        (
            client_with(|b| b.connector(Connector::memory(&upstream))),
            30,
        ),
        (
            client_with(|b| {
                let b = b.connector(Connector::memory(&upstream));
                b.keep_alive_hint_max(minute)
            }),
            49,
        ),
    ] {
        support::text(client.get(URI).await.unwrap()).await;
        let margin = Duration::from_millis(100);
        tokio::time::sleep(Duration::from_secs(lasts).saturating_sub(margin)).await;
        assert_eq!(client.stats(URI).unwrap().idle, 1);
        tokio::time::sleep(margin * 2).await;
        assert_eq!(client.stats(URI).unwrap().idle, 0, "{lasts} s");
    }
}
