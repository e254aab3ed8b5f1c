//! Until when `QueueMetricsLayer` takes a request for being in flight.

use std::convert::Infallible;
use std::future::ready;
use std::pin::pin;

use bytes::Bytes;
use futures_util::stream;
use http::Response;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use tokio_test::task;
use tollgate_queue_metrics::{InFlight, MeasureUntil, Outcome, QueueMetricsLayer};
use tower::{Layer, Service, ServiceExt, service_fn};

fn counts(layer: &QueueMetricsLayer) -> [u64; 5] {
    let stats = layer.snapshot();
    [
        stats.queued,
        stats.in_flight,
        stats.ok,
        stats.error,
        stats.cancelled,
    ]
}

fn frames(count: usize) -> impl Body<Data = Bytes, Error = &'static str> {
    let frame = |_| Ok(Frame::data(Bytes::from_static(b"x")));
    StreamBody::new(stream::iter((0..count).map(frame)))
}

#[tokio::test]
async fn request_is_in_flight_until_its_body_ends() {
    let layer = QueueMetricsLayer::new("billing");
    let service = layer.layer(service_fn(|()| {
        ready(Ok::<_, Infallible>(Response::new(frames(2))))
    }));
    let mut body = service.oneshot(()).await.unwrap().into_body();
    assert_eq!(counts(&layer), [0, 1, 0, 0, 0]);
    body.frame().await.unwrap().unwrap();
    body.frame().await.unwrap().unwrap();
    assert_eq!(counts(&layer), [0, 1, 0, 0, 0]);
    assert!(body.frame().await.is_none());
    assert_eq!(counts(&layer), [0, 0, 1, 0, 0]);
}

#[tokio::test]
async fn end_stream_body_is_counted_without_another_poll() {
    let layer = QueueMetricsLayer::new("billing");
    let full = || Response::new(Full::new(Bytes::from_static(b"paid")));
    let service = layer.layer(service_fn(|()| ready(Ok::<_, Infallible>(full()))));
    let mut body = service.oneshot(()).await.unwrap().into_body();
    assert_eq!(body.size_hint().exact(), Some(4));
    body.frame().await.unwrap().unwrap();
    assert!(body.is_end_stream());
    assert_eq!(
        counts(&layer),
        [0, 0, 1, 0, 0],
        "while the body is still held"
    );
    drop(body);
    assert_eq!(counts(&layer), [0, 0, 1, 0, 0], "counted once");
}

#[tokio::test]
async fn an_empty_body_ends_with_the_head() {
    let layer = QueueMetricsLayer::new("billing");
    let empty = || Response::new(Empty::<Bytes>::new());
    let service = layer.layer(service_fn(|()| ready(Ok::<_, Infallible>(empty()))));
    let response = service.oneshot(()).await.unwrap();
    assert_eq!(counts(&layer), [0, 0, 1, 0, 0]);
    drop(response);
}

#[tokio::test]
async fn dropped_body_is_cancelled_broken_body_is_error() {
    let layer = QueueMetricsLayer::new("billing");
    let service = layer.layer(service_fn(|()| {
        ready(Ok::<_, Infallible>(Response::new(frames(2))))
    }));
    drop(service.oneshot(()).await.unwrap());
    assert_eq!(counts(&layer), [0, 0, 0, 0, 1]);

    let broken = || StreamBody::new(stream::iter([Err::<Frame<Bytes>, _>("reset")]));
    let service = layer.layer(service_fn(|()| {
        ready(Ok::<_, Infallible>(Response::new(broken())))
    }));
    let mut body = service.oneshot(()).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap_err(), "reset");
    assert_eq!(counts(&layer), [0, 0, 0, 1, 1]);
}

#[tokio::test]
async fn body_into_inner_counts_as_ok() {
    let layer = QueueMetricsLayer::new("billing");
    let service = layer.layer(service_fn(|()| {
        ready(Ok::<_, Infallible>(Response::new(frames(2))))
    }));
    let body = service.oneshot(()).await.unwrap().into_body().into_inner();
    assert_eq!(counts(&layer), [0, 0, 1, 0, 0]);
    drop(body);
}

#[tokio::test]
async fn until_head_measures_responses_of_any_type() {
    let layer = QueueMetricsLayer::new("adder").until_head();
    let service = layer.layer(service_fn(|n: u32| ready(Ok::<_, Infallible>(n + 1))));
    assert_eq!(service.oneshot(1).await, Ok(2));
    let stats = layer.snapshot();
    assert_eq!((stats.in_flight, stats.ok), (0, 1));
}

#[tokio::test]
async fn custom_measure_until_decides_when_response_ends() {
    struct UntilDropped;
    struct Guarded {
        _in_flight: InFlight,
    }
    impl MeasureUntil<u32> for UntilDropped {
        type Measured = Guarded;

        fn measure(_: u32, in_flight: InFlight) -> Guarded {
            Guarded {
                _in_flight: in_flight,
            }
        }
    }
    let layer = QueueMetricsLayer::new("adder").until::<UntilDropped>();
    let service = layer.layer(service_fn(|n: u32| ready(Ok::<_, Infallible>(n))));
    let guarded = service.oneshot(1).await.unwrap();
    assert_eq!(layer.snapshot().in_flight, 1);
    drop(guarded);
    let stats = layer.snapshot();
    assert_eq!((stats.in_flight, stats.cancelled), (0, 1));
}

#[test]
fn ending_a_request_by_hand_says_how() {
    struct By;
    impl MeasureUntil<Outcome> for By {
        type Measured = ();

        fn measure(outcome: Outcome, in_flight: InFlight) {
            in_flight.end(outcome);
        }
    }
    let layer = QueueMetricsLayer::new("outcomes").until::<By>();
    let mut service = layer.layer(service_fn(|o: Outcome| ready(Ok::<_, Infallible>(o))));
    for outcome in [Outcome::Ok, Outcome::Ok, Outcome::Error] {
        let call = pin!(service.call(outcome));
        assert!(task::spawn(call).poll().is_ready());
    }
    let stats = layer.snapshot();
    assert_eq!((stats.ok, stats.error, stats.cancelled), (2, 1, 0));
}
