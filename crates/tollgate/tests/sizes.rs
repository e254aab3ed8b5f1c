//! The sizes of bodies, as an observer sees them that asks for them.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use support::{client_with, text};
use tokio::io::DuplexStream;
use tollgate::{Body, Client, Event, LongLived, Observer, Protocol};
use tollgate_testing::{Connector, Gate, InMemory, Reply, Upstream, http2};
use tower::ServiceExt;

const URI: &str = "http://sized.internal:8080/secret/path?token=1";

/// Method, status, error and both sizes of each call, in the order of their ends.
type Seen = (
    Method,
    Option<StatusCode>,
    Option<&'static str>,
    u64,
    Option<u64>,
);

#[derive(Clone, Default)]
struct Sizes {
    seen: Arc<Mutex<Vec<Seen>>>,
    /// It does not ask for them.
    deaf: bool,
}

impl Observer for Sizes {
    fn on_event(&self, event: &Event<'_>) {
        if let Event::BodiesEnded {
            origin,
            method,
            answer,
            error,
            sent,
            received,
        } = event
        {
            assert_eq!(origin.to_string(), "http://sized.internal:8080");
            let status = answer.map(|(status, _)| status);
            let seen = ((*method).clone(), status, *error, *sent, *received);
            self.seen.lock().unwrap().push(seen);
        }
    }

    fn observes_bodies(&self) -> bool {
        !self.deaf
    }
}

impl Sizes {
    fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

async fn over(reply: Reply, sizes: &Sizes) -> (Client, Upstream) {
    let upstream = Upstream::start(move |_| reply.clone()).await;
    let connector = Connector::memory(&upstream);
    let observer = Arc::new(sizes.clone());
    let client = client_with(|b| {
        b.connector(connector)
            .observer(observer)
            .response_timeout(Duration::from_secs(2))
            .body_idle_timeout(Duration::from_secs(1))
    });
    (client, upstream)
}

const OK: Option<StatusCode> = Some(StatusCode::OK);

#[tokio::test(start_paused = true)]
async fn body_sizes_are_the_bytes_transferred() {
    let chunked = Reply::chunked().chunk("pa").chunk("id").end_chunks();
    let until_close = Reply::raw("HTTP/1.0 200 OK\r\n\r\npaid").close();
    for reply in [Reply::ok("paid"), chunked, until_close] {
        let sizes = Sizes::default();
        let (client, _upstream) = over(reply, &sizes).await;
        let response = client.get(URI).await.unwrap();
        assert!(sizes.take().is_empty(), "the body is not read yet");
        text(response).await;
        assert_eq!(sizes.take(), [(Method::GET, OK, None, 0, Some(4))]);
        let request = Request::post("/").body(Body::from("{}")).unwrap();
        let origin = client.origin(URI).unwrap();
        text(origin.oneshot(request).await.unwrap()).await;
        assert_eq!(sizes.take(), [(Method::POST, OK, None, 2, Some(4))]);
    }
}

#[tokio::test(start_paused = true)]
async fn answer_to_head_has_body_size_zero() {
    let sizes = Sizes::default();
    let head = Reply::head(200).header("content-length", "70000");
    let (client, _upstream) = over(head, &sizes).await;
    let request = Request::head(URI).body(Body::default()).unwrap();
    let response = client.request(request).await.unwrap();
    assert_eq!(response.headers()["content-length"], "70000");
    // No frame is to come: it has ended, read or not.
    assert_eq!(sizes.take(), [(Method::HEAD, OK, None, 0, Some(0))]);
    drop(response);
    assert!(sizes.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn broken_body_has_the_size_received() {
    let half = || Reply::head(200).header("content-length", "9").body("half");
    for (reply, error) in [(half().close(), "body"), (half().hold(), "body_timeout")] {
        let sizes = Sizes::default();
        let (client, _upstream) = over(reply, &sizes).await;
        let response = client.get(URI).await.unwrap();
        response.into_body().collect().await.unwrap_err();
        assert_eq!(sizes.take(), [(Method::GET, OK, Some(error), 0, Some(4))]);
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_body_has_the_size_read() {
    let sizes = Sizes::default();
    let reply = Reply::chunked().chunk("one").hold();
    let (client, _upstream) = over(reply, &sizes).await;
    let mut body = client.get(URI).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    assert_eq!(sizes.take(), [(Method::GET, OK, None, 0, Some(3))]);
}

/// A request body of three chunks, the last of which comes when the gate opens.
fn upload(gate: &Gate) -> impl http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static {
    let gate = gate.clone();
    let frames = ["one", "two", "three"].map(Bytes::from);
    let frames = futures_util::stream::unfold(frames.into_iter(), move |mut rest| {
        let gate = gate.clone();
        async move {
            let next = rest.next()?;
            if rest.len() == 0 {
                gate.wait().await;
            }
            Some((Ok::<_, Infallible>(Frame::data(next)), rest))
        }
    });
    StreamBody::new(Box::pin(frames))
}

#[tokio::test(start_paused = true)]
async fn streamed_upload_has_the_size_of_its_chunks() {
    let sizes = Sizes::default();
    let (client, _upstream) = over(Reply::echo(), &sizes).await;
    let request = Request::post(URI).body(upload(&Gate::opened())).unwrap();
    let echoed = text(client.request(request).await.unwrap()).await;
    assert_eq!(echoed, "onetwothree");
    assert_eq!(sizes.take(), [(Method::POST, OK, None, 11, Some(11))]);
}

/// A client that speaks HTTP/2 to a server which echoes bodies; its first connections refuse this
/// number of streams, each once its whole body was read.
fn over_http2(refusals: usize, sizes: &Sizes) -> Client {
    let left = AtomicUsize::new(refusals);
    let connector = InMemory::serving(move |stream| {
        let refuses = left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        tokio::spawn(async move {
            if refuses.is_ok() {
                refuse(stream).await.unwrap();
            } else {
                let echo = |request: Request<Incoming>| async {
                    Ok::<_, Infallible>(Response::new(request.into_body()))
                };
                http2::serve(stream, service_fn(echo)).await;
            }
        });
        Ok(())
    });
    client_with(|b| {
        b.connector(connector)
            .protocol(Protocol::Http2)
            .observer(Arc::new(sizes.clone()))
    })
}

/// Reads the body of the first request, and says that the request was not processed.
async fn refuse(stream: DuplexStream) -> Result<(), h2::Error> {
    let mut server = h2::server::handshake(stream).await?;
    while let Some(accepted) = server.accept().await {
        let (request, mut respond) = accepted?;
        tokio::spawn(async move {
            let mut body = request.into_body();
            while let Some(data) = body.data().await {
                let read = data.unwrap().len();
                body.flow_control().release_capacity(read).unwrap();
            }
            respond.send_reset(h2::Reason::REFUSED_STREAM);
        });
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn uploads_on_one_http2_connection_are_sized_apart() {
    let sizes = Sizes::default();
    let client = over_http2(0, &sizes);
    let gate = Gate::new();
    let streamed = Request::post(URI).body(upload(&gate)).unwrap();
    let streamed = client.request(streamed).await.unwrap();
    let whole = Request::put(URI).body(Body::from("paid")).unwrap();
    let whole = client.request(whole).await.unwrap();
    assert_eq!(text(whole).await, "paid");
    assert_eq!(sizes.take(), [(Method::PUT, OK, None, 4, Some(4))]);
    gate.open();
    assert_eq!(text(streamed).await, "onetwothree");
    assert_eq!(sizes.take(), [(Method::POST, OK, None, 11, Some(11))]);
    assert_eq!(client.stats(URI).unwrap().opened, 1);
}

/// The body of the second attempt is what the pool kept of the first.
#[tokio::test(start_paused = true)]
async fn a_retried_upload_is_counted_once() {
    for refusals in 1..=2 {
        let sizes = Sizes::default();
        let client = over_http2(refusals, &sizes);
        let request = Request::post(URI).body(upload(&Gate::opened())).unwrap();
        let echoed = text(client.request(request).await.unwrap()).await;
        assert_eq!(echoed, "onetwothree");
        assert_eq!(sizes.take(), [(Method::POST, OK, None, 11, Some(11))]);
    }
}

#[tokio::test(start_paused = true)]
async fn failed_call_has_the_request_size_sent() {
    let sizes = Sizes::default();
    let (client, _upstream) = over(Reply::never(), &sizes).await;
    let gate = Gate::new();
    let request = Request::post(URI).body(upload(&gate)).unwrap();
    client.request(request).await.unwrap_err();
    // The connection's task lets go of the body in its next turn.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let failed = Some("response_timeout");
    assert_eq!(sizes.take(), [(Method::POST, None, failed, 6, None)]);

    let request = Request::post(URI).body(upload(&gate)).unwrap();
    let left = tokio::time::timeout(Duration::from_millis(300), client.request(request));
    left.await.unwrap_err();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let left = Some("cancelled");
    assert_eq!(sizes.take(), [(Method::POST, None, left, 6, None)]);

    client.get("/only/a/path").await.unwrap_err();
    assert!(sizes.take().is_empty(), "a request to nowhere is no call");
}

#[tokio::test(start_paused = true)]
async fn body_sizes_need_an_observer_that_asks() {
    let deaf = Sizes {
        deaf: true,
        ..Sizes::default()
    };
    let (client, _upstream) = over(Reply::ok("paid"), &deaf).await;
    text(client.get(URI).await.unwrap()).await;
    assert!(deaf.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn long_lived_body_sizes_go_to_own_observer() {
    let upstream = Upstream::start(|_| Reply::ok("paid")).await;
    let connector = Connector::memory(&upstream);
    let (lasting, deaf) = (
        Sizes::default(),
        Sizes {
            deaf: true,
            ..Sizes::default()
        },
    );
    let client = client_with(|b| {
        b.connector(connector)
            .max_long_lived_per_origin(1)
            .observer(Arc::new(deaf.clone()))
            .long_lived_observer(Arc::new(lasting.clone()))
    });
    let watch = Request::get(URI).extension(LongLived);
    let watch = client.request(watch.body(Body::default()).unwrap()).await;
    text(watch.unwrap()).await;
    text(client.get(URI).await.unwrap()).await;
    assert_eq!(lasting.take(), [(Method::GET, OK, None, 0, Some(4))]);
    assert!(deaf.take().is_empty());
}

/// Neither in the caller's poll nor in the task that ends the last body.
#[tokio::test(start_paused = true)]
async fn a_panicking_observer_breaks_no_call() {
    struct Panics;
    impl Observer for Panics {
        fn on_event(&self, event: &Event<'_>) {
            panic!("of the test: {event:?}");
        }
        fn observes_bodies(&self) -> bool {
            true
        }
    }
    let upstream = Upstream::start(|_| Reply::ok("paid")).await;
    let connector = Connector::memory(&upstream);
    let client = client_with(|b| b.connector(connector).observer(Arc::new(Panics)));
    for _ in 0..2 {
        let request = Request::post(URI).body(Body::from("{}")).unwrap();
        assert_eq!(text(client.request(request).await.unwrap()).await, "paid");
    }
}
