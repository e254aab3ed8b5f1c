//! The wait that `QueueMetricsLayer` tells is that of the queues below it, however a call ends.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use tollgate_core::{BoxError, Observer};
use tollgate_keep_alive::KeepAliveLayer;
use tollgate_pool_limit::PoolLimitLayer;
use tollgate_queue_metrics::{PoolMetrics, QueueMetricsLayer};
use tollgate_testing::{Connector, Reply, Upstream};
use tower::{Layer, Service, ServiceExt};

const SECOND: Duration = Duration::from_secs(1);

/// Calls that come together at a limit of one, each served for a second: the first at once, the
/// second after one second. The third's caller leaves half a second later, the fourth has waited as
/// long as it may a quarter after that, and the fifth finds the queue full.
async fn five_calls<S, B>(layer: &QueueMetricsLayer, service: S)
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error: Into<BoxError>>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let call = || {
        let request = Request::get("http://billing.test/").body(Empty::new());
        let service = layer.layer(service.clone());
        async move {
            let response = service
                .oneshot(request.unwrap())
                .await
                .map_err(Into::into)?;
            response.into_body().collect().await.map_err(Into::into)?;
            Ok::<_, BoxError>(())
        }
    };
    let impatient = tokio::time::timeout(SECOND + SECOND / 2, call());
    let (first, second, third, fourth, fifth) =
        tokio::join!(call(), call(), impatient, call(), call());
    first.unwrap();
    second.unwrap();
    third.unwrap_err();
    fourth.unwrap_err();
    fifth.unwrap_err();
}

/// The times that were waited, in all, as the layer and as the observer below tell it.
async fn waited<S, B>(below: impl FnOnce(Arc<dyn Observer>) -> S) -> (Duration, Duration)
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error: Into<BoxError>>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let (layer, metrics) = (
        QueueMetricsLayer::new("billing"),
        Arc::new(PoolMetrics::new()),
    );
    five_calls(&layer, below(metrics.clone())).await;
    let (told, pool) = (layer.snapshot(), metrics.snapshot().origins.remove(0));
    assert_eq!((told.ok, told.error, told.cancelled), (2, 2, 1));
    (told.waits.sum, pool.waits.sum)
}

#[tokio::test(start_paused = true)]
async fn the_waits_of_a_pool_are_told() {
    let upstream = Upstream::start(|_| Reply::ok("paid").after(SECOND)).await;
    let connector = Connector::memory(&upstream);
    let layer = KeepAliveLayer::new()
        .max_connections_per_origin(NonZeroUsize::MIN)
        .max_waiting(3)
        .acquire_timeout(SECOND * 7 / 4);
    let mut pool = None;
    let below = |observer| {
        pool.insert(layer.observer(observer).layer(connector))
            .clone()
    };
    let (told, by_the_pool) = waited(below).await;
    assert_eq!(told, by_the_pool);
    let stats = pool.unwrap().snapshot().origins.remove(0);
    // The first waited for the dial.
    assert_eq!((stats.waited, stats.wait_time), (4, by_the_pool));
    let expected = SECOND + SECOND * 3 / 2 + SECOND * 7 / 4;
    assert!(told.abs_diff(expected) < SECOND / 100, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn the_waits_of_a_request_limit_are_told() {
    let upstream = Upstream::start(|_| Reply::ok("paid").after(SECOND)).await;
    let pool = KeepAliveLayer::new().layer(Connector::memory(&upstream));
    let limit = PoolLimitLayer::per_origin(1).unwrap().max_waiting(3);
    let limit = limit.acquire_timeout(SECOND * 7 / 4);
    let (told, by_the_limit) = waited(|observer| limit.observer(observer).layer(pool)).await;
    assert!(
        told.abs_diff(by_the_limit) < SECOND / 100,
        "{told:?} {by_the_limit:?}"
    );
    let expected = SECOND + SECOND * 3 / 2 + SECOND * 7 / 4;
    assert!(told.abs_diff(expected) < SECOND / 100, "{told:?}");
}
