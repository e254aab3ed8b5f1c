//! What happens on every request allocates nothing, with a recorder or without.

mod common;

use std::convert::Infallible;
use std::future::ready;
use std::num::NonZeroUsize;
use std::time::Duration;

use bytes::Bytes;
use common::{Tell, dns_cache, ms, origin};
use http::Response;
use http_body_util::Full;
use metrics_exporter_prometheus::PrometheusBuilder;
use tollgate_queue_metrics::{PoolMetrics, QueueMetricsLayer};
use tower::{Layer, Service, service_fn};

fn allocations(run: impl FnOnce()) -> u64 {
    allocation_counter::measure(run).count_total
}

fn a_request(tell: &Tell<'_, PoolMetrics>) {
    tell.granted(Duration::ZERO, true);
    tell.released(ms(3));
    tell.call_ended(Some(200), None);
    tell.call_ended(None, Some("queue_timeout"));
    tell.queued(0);
    tell.granted(ms(1), true);
    tell.released(ms(700));
    dns_cache(tell.observer, "billing.test", "hit");
}

#[test]
fn request_allocates_nothing_with_or_without_recorder() {
    let metrics = PoolMetrics::new();
    let tell = Tell {
        observer: &metrics,
        origin: origin("https://billing.test"),
    };
    a_request(&tell);
    let thousand = || (0..1_000).for_each(|_| a_request(&tell));
    assert_eq!(allocations(thousand), 0);
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || {
        metrics.report();
        assert_eq!(allocations(thousand), 0);
    });
}

#[test]
fn request_beyond_max_origins_allocates_nothing() {
    let metrics = PoolMetrics::new().max_origins(NonZeroUsize::MIN);
    let tell = |to| Tell {
        observer: &metrics,
        origin: origin(to),
    };
    let (own, beyond) = (tell("https://billing.test"), tell("https://beyond.test"));
    a_request(&own);
    a_request(&beyond);
    assert_eq!(allocations(|| a_request(&beyond)), 0);
}

#[test]
fn the_layer_allocates_nothing_around_a_call() {
    let layer = QueueMetricsLayer::new("billing");
    let reply = || {
        ready(Ok::<_, Infallible>(Response::new(Full::new(
            Bytes::from_static(b"paid"),
        ))))
    };
    let mut service = layer.layer(service_fn(move |()| reply()));
    let count = allocations(|| {
        for _ in 0..1_000 {
            let call = Service::<()>::call(&mut service, ());
            let response = futures_util::FutureExt::now_or_never(call);
            drop(response.expect("is ready").expect("cannot fail"));
        }
    });
    assert_eq!(count, 0);
    assert_eq!(layer.snapshot().cancelled, 1_000);
}
