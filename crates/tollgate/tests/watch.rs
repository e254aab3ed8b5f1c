//! Exchanges that are watched: leaks that are named once, and deadlocks.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::time::Duration;

use support::client_with;
use support::log::Log;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep};
use tollgate::{Body, BuildErrorKind, Client, ErrorKind, LongLived, scope};
use tollgate_testing::io::{Dial, Plan};
use tollgate_testing::{Connector, Reply, Upstream, eventually};

const URI: &str = "http://watched.internal/secret/path?token=1";

/// A client over an upstream in memory.
async fn over(
    reply: Reply,
    options: impl FnOnce(tollgate::ClientBuilder) -> tollgate::ClientBuilder,
) -> (Client, Upstream) {
    let upstream = Upstream::start(move |_| reply.clone()).await;
    let connector = Connector::memory(&upstream);
    (client_with(|b| options(b.connector(connector))), upstream)
}

#[tokio::test(start_paused = true)]
async fn leaked_body_is_logged_once_without_path() {
    let leaks = Log::of("tollgate::leak");
    let _default = tracing::subscriber::set_default(leaks.clone());
    let (client, _upstream) = over(Reply::ok("ok"), |b| b.leak_after(Duration::from_secs(5))).await;
    let held = client.get(URI).await.unwrap();
    sleep(Duration::from_secs(4)).await;
    assert!(leaks.lines().is_empty(), "too early");
    sleep(Duration::from_secs(60)).await;
    let seen = leaks.lines();
    assert_eq!(seen.len(), 1, "{seen:#?}");
    for part in ["http://watched.internal", "method=GET", "age="] {
        assert!(seen[0].contains(part), "{seen:#?}");
    }
    assert!(
        !seen[0].contains("secret") && !seen[0].contains("token"),
        "{seen:#?}"
    );
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn body_waiting_for_its_peer_is_no_leak() {
    let leaks = Log::of("tollgate::leak");
    let _default = tracing::subscriber::set_default(leaks.clone());
    let stalled = Reply::head(200)
        .header("content-length", "9")
        .body("a")
        .hold();
    let (client, _upstream) = over(stalled, |b| b.leak_after(Duration::from_secs(1))).await;
    let body = client.get(URI).await.unwrap().into_body();
    let reading = tokio::spawn(body.collect_within(9));
    sleep(Duration::from_secs(30)).await;
    assert!(leaks.lines().is_empty(), "{:?}", leaks.lines());
    reading.abort();
}

/// The flag of the task that looks stayed up, and no leak was named any more.
#[test]
fn leaks_are_named_after_their_tasks_runtime_ended() {
    let leaks = Log::of("tollgate::leak");
    let _default = tracing::subscriber::set_default(leaks.clone());
    let site = Runtime::new().unwrap();
    let build = |b: tollgate::ClientBuilder| b.leak_after(Duration::from_millis(20));
    let (client, _upstream) = site.block_on(over(Reply::ok("ok"), build));
    let first = Builder::new_current_thread().enable_all().build().unwrap();
    first.block_on(async { drop(client.get(URI).await.unwrap()) });
    drop(first);
    let second = Builder::new_current_thread().enable_all().build().unwrap();
    second.block_on(async {
        let _held = client.get(URI).await.unwrap();
        eventually(|| leaks.lines().len() == 1).await;
    });
}

#[test]
fn a_leak_after_no_time_is_refused() {
    let error = Client::builder()
        .leak_after(Duration::ZERO)
        .build()
        .unwrap_err();
    assert_eq!(
        (error.field(), error.kind()),
        ("leak_after", BuildErrorKind::Zero)
    );
}

#[tokio::test(start_paused = true)]
async fn nested_call_on_last_connection_is_deadlock() {
    let hour = Duration::from_secs(3600);
    let (client, _upstream) = over(Reply::ok("ok"), |b| {
        b.max_connections_per_origin(2)
            .acquire_timeout(hour)
            .detect_deadlocks(true)
    })
    .await;
    let begin = Instant::now();
    let nested = || {
        let client = client.clone();
        tokio::spawn(scope(async move {
            let held = client.get(URI).await.unwrap();
            tokio::task::yield_now().await;
            let second = client.get(URI).await;
            drop(held);
            second.err()
        }))
    };
    let (one, two) = (nested(), nested());
    let errors = [one.await.unwrap(), two.await.unwrap()];
    assert!(
        begin.elapsed() <= Duration::from_secs(1),
        "{:?}",
        begin.elapsed()
    );
    let mut errors = errors.into_iter().flatten();
    let error = errors.next().expect("one of the two cannot go on");
    assert_eq!(error.kind(), ErrorKind::Deadlock);
    assert!(error.nothing_sent() && !error.is_retryable(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn holder_outside_a_scope_is_no_deadlock() {
    let (client, _upstream) = over(Reply::ok("ok"), |b| {
        let b = b.max_connections_per_origin(1).detect_deadlocks(true);
        b.acquire_timeout(Duration::from_secs(5))
    })
    .await;
    let held = client.get(URI).await.unwrap();
    let error = scope(client.get(URI)).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::QueueTimeout);
    drop(held);
}

/// The dial of the stream is slow: its caller holds all connections for calls, and waits for none of them.
#[tokio::test(start_paused = true)]
async fn stream_beside_a_held_call_is_no_deadlock() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let slow = |dial: &Dial| match dial.nth {
        0 => Plan::connect(),
        _ => Plan::connect().after(Duration::from_secs(3)),
    };
    let connector = Connector::memory(&upstream).script(slow);
    let client = client_with(|b| {
        b.connector(connector)
            .max_connections_per_origin(1)
            .max_long_lived_per_origin(1)
            .detect_deadlocks(true)
    });
    scope(async {
        let held = client.get(URI).await.unwrap();
        let stream = http::Request::get(URI).extension(LongLived);
        let stream = client.request(stream.body(Body::default()).unwrap()).await;
        assert!(stream.is_ok(), "{stream:?}");
        drop(held);
    })
    .await;
}
