//! What `QueueMetricsLayer` measures around a service.
#![expect(clippy::float_cmp, reason = "whole numbers, which arrive as they are")]

mod common;

use std::convert::Infallible;
use std::future::{pending, ready};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use common::{Recorder, ms};
use http::Response;
use http_body_util::Empty;
use tokio::time::{advance, sleep};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tollgate_core::wait;
use tollgate_queue_metrics::{QueueMetrics, QueueMetricsLayer, ServiceStats};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_test::mock;

type Reply<B> = Result<Response<B>, Infallible>;

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

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_is_cancelled() {
    let layer = QueueMetricsLayer::new("billing");
    let mut service = layer.layer(service_fn(|()| pending::<Reply<Empty<Bytes>>>()));
    let call = service.ready().await.unwrap().call(());
    assert_eq!(counts(&layer), [0, 1, 0, 0, 0], "before it is polled");
    advance(ms(40)).await;
    drop(call);
    assert_eq!(counts(&layer), [0, 0, 0, 0, 1]);
    assert_eq!(layer.snapshot().durations.sum, ms(40));
}

#[tokio::test(start_paused = true)]
async fn wait_lasts_from_first_pending_to_ready() {
    let layer = QueueMetricsLayer::new("billing");
    let (mock, mut handle) = mock::pair::<(), Response<Empty<Bytes>>>();
    let mut service = mock::Spawn::new(layer.layer(mock));
    handle.allow(0);
    assert_pending!(service.poll_ready());
    advance(ms(30)).await;
    assert_pending!(service.poll_ready());
    assert_eq!(counts(&layer), [1, 0, 0, 0, 0]);
    advance(ms(30)).await;
    handle.allow(1);
    assert!(service.is_woken());
    assert_ready_ok!(service.poll_ready());
    assert_eq!(counts(&layer), [0, 0, 0, 0, 0]);
    advance(ms(500)).await; // Ready, but not called yet: not the service's fault.
    let mut call = task::spawn(service.call(()));
    handle
        .next_request()
        .await
        .unwrap()
        .1
        .send_response(Response::default());
    assert_ready_ok!(call.poll());
    let stats = layer.snapshot();
    assert_eq!((stats.waits.count, stats.waits.sum), (1, ms(60)));
    assert_eq!((stats.queued_peak, stats.ok), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn immediate_readiness_counts_as_zero_wait() {
    let layer = QueueMetricsLayer::new("billing");
    let empty = || Response::new(Empty::<Bytes>::new());
    let service = layer.layer(service_fn(|()| ready(Ok::<_, Infallible>(empty()))));
    service.oneshot(()).await.unwrap();
    let stats = layer.snapshot();
    assert_eq!((stats.waits.count, stats.waits.sum), (1, Duration::ZERO));
}

/// Waits inside its call, as a pool does, and tells of it also when its caller leaves.
struct Queued(Duration);

impl Drop for Queued {
    fn drop(&mut self) {
        wait::add(self.0);
    }
}

async fn queues(ends: Result<(), &'static str>) -> Result<Response<Empty<Bytes>>, &'static str> {
    let queued = Queued(ms(20));
    sleep(ms(20)).await;
    drop(queued);
    sleep(ms(5)).await;
    ends.map(|()| Response::default())
}

#[tokio::test(start_paused = true)]
async fn what_the_layers_below_waited_is_added() {
    let layer = QueueMetricsLayer::new("billing");
    let service = layer.layer(service_fn(|()| queues(Ok(()))));
    service.oneshot(()).await.unwrap();
    let stats = layer.snapshot();
    assert_eq!((stats.waits.count, stats.waits.sum), (1, ms(20)));
    assert_eq!(stats.durations.sum, ms(25));
}

#[tokio::test(start_paused = true)]
async fn waits_below_count_for_failed_and_cancelled_calls() {
    let layer = QueueMetricsLayer::new("billing");
    let fails = layer.layer(service_fn(|()| queues(Err("refused after a wait"))));
    assert!(fails.oneshot(()).await.is_err());
    assert_eq!(layer.snapshot().waits.sum, ms(20));

    let mut left = task::spawn(layer.layer(service_fn(|()| queues(Ok(())))).oneshot(()));
    assert_pending!(left.poll());
    drop(left);
    let stats = layer.snapshot();
    assert_eq!((stats.waits.count, stats.waits.sum), (2, ms(40)));
    assert_eq!((stats.error, stats.cancelled), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_clone_lets_the_gauge_fall() {
    let layer = QueueMetricsLayer::new("billing");
    let (mock, mut handle) = mock::pair::<(), Response<Empty<Bytes>>>();
    handle.allow(0);
    let mut first = mock::Spawn::new(layer.layer(mock));
    assert_pending!(first.poll_ready());
    let mut second = mock::Spawn::new(first.get_ref().clone());
    assert_eq!(counts(&layer), [1, 0, 0, 0, 0], "a clone does not wait yet");
    assert_pending!(second.poll_ready());
    assert_eq!(counts(&layer), [2, 0, 0, 0, 0]);
    advance(ms(10)).await;
    drop(first);
    assert_eq!(counts(&layer), [1, 0, 0, 0, 1]);
    drop(second.into_inner().into_inner());
    assert_eq!(counts(&layer), [0, 0, 0, 0, 2]);
    assert_eq!(layer.snapshot().waits.sum, ms(20));
}

#[tokio::test]
async fn errors_are_counted_and_passed_through_unchanged() {
    let layer = QueueMetricsLayer::new("billing");
    let fails = service_fn(|()| ready(Err::<Response<Empty<Bytes>>, _>("refused")));
    assert_eq!(layer.layer(fails).oneshot(()).await.unwrap_err(), "refused");
    assert_eq!(counts(&layer), [0, 0, 0, 1, 0]);

    let (mock, mut handle) = mock::pair::<(), Response<Empty<Bytes>>>();
    handle.allow(0);
    let mut service = mock::Spawn::new(layer.layer(mock));
    assert_pending!(service.poll_ready());
    handle.send_error("closed");
    let error = assert_ready_err!(service.poll_ready());
    assert_eq!(error.to_string(), "closed");
    assert_eq!(counts(&layer), [0, 0, 0, 2, 0]);
}

#[test]
fn a_service_that_panics_leaves_nothing_in_flight() {
    let layer = QueueMetricsLayer::new("billing");
    let mut service = layer.layer(service_fn(
        |()| -> std::future::Ready<Reply<Empty<Bytes>>> { panic!("no future") },
    ));
    let call = std::panic::AssertUnwindSafe(|| service.call(()));
    assert!(std::panic::catch_unwind(call).is_err());
    assert_eq!(counts(&layer), [0, 0, 0, 0, 1]);
}

#[tokio::test]
async fn the_metrics_of_a_layer_carry_its_name() {
    let layer = QueueMetricsLayer::new("billing").prefix("shop_");
    let empty = || Response::new(Empty::<Bytes>::new());
    let service = layer.layer(service_fn(|()| ready(Ok::<_, Infallible>(empty()))));
    service.oneshot(()).await.unwrap();
    let recorder = Recorder::new();
    recorder.run(|| layer.report());
    let series = recorder.series();
    let requests = "shop_tower_service_requests_total";
    let of = |outcome| series[&format!("{requests}{{outcome=\"{outcome}\",service=\"billing\"}}")];
    assert_eq!([of("ok"), of("error"), of("cancelled")], [1.0, 0.0, 0.0]);
    let waits = r#"shop_tower_service_time_in_queue_seconds_count{service="billing"}"#;
    assert_eq!(series[waits], 1.0);
}

#[tokio::test]
async fn what_was_ready_twice_is_called_once() {
    let layer = QueueMetricsLayer::new("billing");
    let empty = || Response::new(Empty::<Bytes>::new());
    let mut service = layer.layer(service_fn(|()| ready(Ok::<_, Infallible>(empty()))));
    for _ in 0..2 {
        service.ready().await.unwrap();
    }
    service.call(()).await.unwrap();
    assert_eq!(counts(&layer), [0, 0, 1, 0, 0]);
}

#[test]
fn layer_and_service_are_send_sync_and_clone() {
    fn moves<T: Send + 'static>(_: &T) {}
    fn is<T: Send + Sync + Clone + std::fmt::Debug + 'static>() {}
    is::<QueueMetricsLayer>();
    is::<QueueMetrics<()>>();
    is::<ServiceStats>();
    let mut service =
        QueueMetricsLayer::new("billing").layer(service_fn(|()| pending::<Reply<Empty<Bytes>>>()));
    let mut call = task::spawn(service.call(()));
    moves(&service);
    assert!(matches!(call.poll(), Poll::Pending));
    assert_eq!(
        format!("{service:?}").split(' ').next(),
        Some("QueueMetrics")
    );
}
