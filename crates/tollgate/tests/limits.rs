//! The limit of a whole call, in each of its phases, under a clock that stands still.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::convert::Infallible;
use std::future::pending;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use support::client_with;
use tokio::time::{Instant, sleep};
use tollgate::{
    Body, Bytes, CallPhase, Client, ClientBuilder, Error, ErrorKind, Http2Options, Limits,
    Protocol, Request, Response, Uri,
};
use tollgate_testing::InMemory;
use tower::Service;

const LIMIT: Duration = Duration::from_millis(136);
const NEVER: &str = "http://billing.internal/never";
const HALF: &str = "http://billing.internal/half";

/// A body of which half comes.
struct Half(Option<Bytes>);

impl http_body::Body for Half {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let half = self.0.take();
        half.map_or(Poll::Pending, |half| {
            Poll::Ready(Some(Ok(Frame::data(half))))
        })
    }
}

fn upstream() -> InMemory {
    InMemory::new(tower::service_fn(async |request: Request<Incoming>| {
        if request.uri().path() == "/never" {
            pending::<()>().await;
        }
        Ok::<_, Infallible>(Response::new(Half(Some(Bytes::from_static(b"half")))))
    }))
}

/// A client of either protocol, with room for one request.
fn clients(options: impl Fn(ClientBuilder) -> ClientBuilder) -> [Client; 2] {
    let one = NonZeroUsize::new(1).unwrap();
    [Protocol::Http1, Protocol::Http2].map(|protocol| {
        client_with(|b| {
            let b = b.connector(upstream()).protocol(protocol);
            options(b.max_connections_per_origin(1))
                .http2(Http2Options::new().max_streams_per_connection(one))
        })
    })
}

fn limited(uri: &str, limits: Limits) -> Request<Body> {
    let request = Request::get(uri).extension(limits);
    request.body(Body::default()).unwrap()
}

/// It was the timeout that ran out, in this phase and at its time.
#[track_caller]
fn ran_out(error: &Error, started: Instant, phase: CallPhase) {
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert_eq!((error.phase(), started.elapsed()), (Some(phase), LIMIT));
    let unsent = matches!(phase, CallPhase::Queue | CallPhase::Connect);
    assert_eq!(
        (error.nothing_sent(), error.is_retryable()),
        (unsent, unsent)
    );
    assert!(error.is_timeout());
    let text = error.to_string();
    assert!(text.contains("136ms") && text.contains("timeout"), "{text}");
    assert_eq!(text.contains("not sent"), unsent, "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_in_a_full_queue_sends_nothing() {
    for client in clients(|b| b) {
        let first = tokio::spawn(client.get(NEVER));
        sleep(LIMIT).await;
        let started = Instant::now();
        let second = client.request(limited(NEVER, Limits::new().timeout(LIMIT)));
        ran_out(&second.await.unwrap_err(), started, CallPhase::Queue);
        assert_eq!(
            client.stats(NEVER).unwrap().in_flight,
            1,
            "the first goes on"
        );
        first.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn dial_survives_the_timeout_of_its_call() {
    let client = client_with(|b| {
        b.timeout(LIMIT)
            .connector(tower::service_fn(|uri: Uri| async {
                sleep(LIMIT * 2).await;
                upstream().call(uri).await
            }))
    });
    let started = Instant::now();
    let error = client.get(HALF).await.unwrap_err();
    ran_out(&error, started, CallPhase::Connect);
    sleep(LIMIT * 2).await;
    assert_eq!(client.get(HALF).await.unwrap().status(), 200);
    assert_eq!(client.stats(HALF).unwrap().opened, 1);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_before_the_head_ends_the_exchange() {
    for client in clients(|b| b.timeout(LIMIT)) {
        let started = Instant::now();
        let error = client.get(NEVER).await.unwrap_err();
        ran_out(&error, started, CallPhase::Response);
    }
}

#[tokio::test(start_paused = true)]
async fn timeout_in_body_counts_from_the_call() {
    for client in clients(|b| b.timeout(LIMIT).body_idle_timeout(LIMIT * 3 / 4)) {
        let started = Instant::now();
        let mut body = client.get(HALF).await.unwrap().into_body();
        // A silence that begins late has less time than its own limit.
        sleep(LIMIT / 2).await;
        assert_eq!(
            body.frame().await.unwrap().unwrap().into_data().unwrap(),
            "half"
        );
        let error = body.frame().await.unwrap().unwrap_err();
        ran_out(&error, started, CallPhase::Body);
        assert!(body.frame().await.is_none(), "it is over");
        sleep(LIMIT).await;
        assert_eq!(client.stats(HALF).unwrap().in_flight, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn body_idle_timeout_strikes_before_call_timeout() {
    for client in clients(|b| b.timeout(LIMIT * 2).body_idle_timeout(LIMIT)) {
        let mut body = client.get(HALF).await.unwrap().into_body();
        body.frame().await.unwrap().unwrap();
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BodyTimeout);
        assert_eq!(error.phase(), Some(CallPhase::Body));
    }
}

#[tokio::test(start_paused = true)]
async fn request_limits_override_origin_and_client_limits() {
    let client = client_with(|b| {
        b.connector(upstream())
            .timeout(LIMIT * 9)
            .origin("http://billing.internal", |o| o.timeout(LIMIT * 3))
    });
    let begun = Instant::now();
    for (uri, limits, limit) in [
        (NEVER, Limits::new(), LIMIT * 3),
        ("http://other.internal/never", Limits::new(), LIMIT * 9),
        (NEVER, Limits::new().timeout(LIMIT), LIMIT),
        (NEVER, Limits::new().timeout(LIMIT * 12), LIMIT * 12),
        (NEVER, Limits::new().ends_at(begun + LIMIT * 26), LIMIT),
    ] {
        let started = Instant::now();
        let error = client.request(limited(uri, limits)).await.unwrap_err();
        assert_eq!(
            (error.kind(), started.elapsed()),
            (ErrorKind::Timeout, limit)
        );
    }
    // The head has a limit of its own.
    let head = Limits::new().response_timeout(LIMIT);
    let error = client.request(limited(NEVER, head)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResponseTimeout);
    assert_eq!(error.phase(), Some(CallPhase::Response));
}
