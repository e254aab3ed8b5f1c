//! Deadlines: the call's own, the server's, and the client's.

use std::time::Duration;

use futures_util::stream;
use tokio::time::{Instant, timeout};
use tollgate::{Client, Deadline, ErrorKind, find};
use tonic::{Code, Request};

use crate::greeter::Hello;
use crate::server::Upstream;

const LIMIT: Duration = Duration::from_millis(150);
/// What a call may be late on a busy machine.
const LATE: Duration = Duration::from_millis(500);

fn hello(text: &str) -> Request<Hello> {
    Request::new(Hello::new(text))
}

#[track_caller]
fn assert_took(started: Instant, limit: Duration) {
    let took = started.elapsed();
    assert!(
        (limit..limit + LATE).contains(&took),
        "{took:?} for {limit:?}"
    );
}

#[tokio::test]
async fn call_deadline_reaches_the_server_as_set() {
    for upstream in [Upstream::plain().await, Upstream::tls()] {
        let client = upstream.client();
        let mut greeter = upstream.greeter_over(&client);
        let mut request = hello("timeout?");
        request.set_timeout(Duration::from_millis(12_345));
        let answer = greeter.say_hello(request).await.unwrap().into_inner();
        assert_eq!(answer.text, "12345000u");
        let answer = greeter.say_hello(hello("timeout?")).await.unwrap();
        assert_eq!(answer.into_inner().text, "none");
    }
}

#[tokio::test]
async fn servers_deadline_exceeded_status_arrives_unchanged() {
    let upstream = Upstream::plain().await;
    let client = upstream.client();
    let status = upstream
        .greeter_over(&client)
        .say_hello(hello("late"))
        .await;
    let status = status.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.message(), "the greeter is late");
    assert!(
        find::<tollgate::Error>(&status).is_none(),
        "the call went well"
    );
}

/// A server without a clock of its own, as hyper's is, so that the client's is the one that strikes.
#[tokio::test]
async fn call_ends_at_deadline_though_server_hangs() {
    let upstream = Upstream::tls();
    let client = upstream.client();
    let mut greeter = upstream.greeter_over(&client);
    greeter.say_hello(hello("hello")).await.unwrap();
    let mut request = hello("hang");
    request.set_timeout(LIMIT);
    let started = Instant::now();
    let status = greeter.say_hello(request).await.unwrap_err();
    assert_took(started, LIMIT);
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    let error = find::<tollgate::Error>(&status).unwrap();
    assert_eq!(error.kind(), ErrorKind::ResponseTimeout);

    let mut request = Request::new(stream::pending());
    request.set_timeout(LIMIT);
    let started = Instant::now();
    let status = greeter.sum(request).await.unwrap_err();
    assert_took(started, LIMIT);
    assert_eq!(status.code(), Code::DeadlineExceeded);
    upstream.at_rest(&client).await;
    assert_eq!(upstream.stats(&client).opened, 1);
}

#[tokio::test]
async fn shorter_of_deadline_and_response_timeout_strikes() {
    let upstream = Upstream::tls();
    let client = upstream.client_with(|builder| builder.response_timeout(LIMIT * 3));
    let mut greeter = upstream.greeter_over(&client);
    greeter.say_hello(hello("hello")).await.unwrap();
    for (own, limit) in [(LIMIT, LIMIT), (LIMIT * 100, LIMIT * 3)] {
        let mut request = hello("hang");
        request.set_timeout(own);
        let started = Instant::now();
        let status = greeter.say_hello(request).await.unwrap_err();
        assert_took(started, limit);
        assert_eq!(status.code(), Code::DeadlineExceeded);
    }
}

#[tokio::test]
async fn deadline_passed_in_queue_is_deadline_exceeded() {
    let upstream = Upstream::plain().await;
    let one = std::num::NonZeroUsize::MIN;
    let options = tollgate::Http2Options::new()
        .max_http2_connections(one)
        .max_streams_per_connection(one);
    let client = upstream.client_with(|builder| builder.http2(options));
    let held = upstream
        .greeter_over(&client)
        .count(Hello::new("ever"))
        .await
        .unwrap();

    let mut request = hello("hello");
    let started = Instant::now();
    request
        .extensions_mut()
        .insert(Deadline::at(started + LIMIT));
    let status = upstream
        .greeter_over(&client)
        .say_hello(request)
        .await
        .unwrap_err();
    assert_took(started, LIMIT);
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    let error = find::<tollgate::Error>(&status).unwrap();
    assert_eq!(error.kind(), ErrorKind::QueueTimeout);
    assert!(error.nothing_sent());
    assert_eq!(upstream.greeter.calls(), 1);
    drop(held);
    upstream.at_rest(&client).await;
}

#[tokio::test]
async fn silent_stream_ends_at_the_body_idle_timeout() {
    let upstream = Upstream::plain().await;
    let client: Client = upstream.client_with(|builder| builder.body_idle_timeout(LIMIT));
    let mut greeter = upstream.greeter_over(&client);
    let said = stream::iter([Hello::new("a")]);
    let said = futures_util::StreamExt::chain(said, stream::pending());
    let mut heard = greeter.chat(said).await.unwrap().into_inner();
    assert_eq!(heard.message().await.unwrap(), Some(Hello::new("a")));
    let started = Instant::now();
    let status = timeout(LIMIT * 10, heard.message())
        .await
        .unwrap()
        .unwrap_err();
    assert_took(started, LIMIT);
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    drop(heard);
    upstream.at_rest(&client).await;
}
