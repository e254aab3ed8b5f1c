//! Limits on connections and on requests.

use std::num::NonZeroUsize;

use tollgate_core::{CloseReason, Event, Observer, Origin};
use tollgate_queue_metrics::PoolMetrics;

use super::BILLING;
use crate::common::{Recorder, Tell, ms, origin};

#[test]
fn own_limit_wins_and_overflow_has_none() {
    let metrics = PoolMetrics::new()
        .max_origins(NonZeroUsize::MIN)
        .connections_limit(128);
    metrics.set_limit(&origin("https://billing.test"), 6);
    let tell = Tell {
        observer: &metrics,
        origin: origin("https://other.test"),
    };
    tell.queued(0);
    metrics.set_limit(&tell.origin, 7);
    let limits: Vec<_> = metrics.snapshot().origins.iter().map(|o| o.limit).collect();
    assert_eq!(limits, [Some(6), None]);
}

#[test]
fn the_limit_of_a_forgotten_origin_is_zero() {
    let metrics = PoolMetrics::new();
    let billing = origin("https://billing.test");
    let recorder = Recorder::new();
    let reported = || {
        recorder.run(|| metrics.report());
        let gauge = format!("http_client_connections_limit{{{BILLING}}}");
        recorder.series().get(&gauge).copied()
    };
    metrics.on_event(&Event::Queued {
        origin: &billing,
        ahead: 0,
    });
    assert_eq!(reported(), None, "nobody told it");
    limit_changed(&metrics, &billing, 0, 128);
    assert_eq!(reported(), Some(128.0));
    limit_changed(&metrics, &billing, 128, 0);
    assert_eq!(reported(), Some(0.0));
    assert_eq!(metrics.snapshot().origins[0].limit, None);
}

fn limit_changed(metrics: &PoolMetrics, origin: &Origin, from: usize, to: usize) {
    metrics.on_event(&Event::LimitChanged { origin, from, to });
}

#[test]
fn limits_of_grouped_origins_add_up() {
    let metrics = PoolMetrics::new().group_by(|_| "*.test".into());
    let (a, b) = (origin("http://a.test"), origin("http://b.test"));
    let limit = || metrics.snapshot().origins[0].limit;
    limit_changed(&metrics, &a, 0, 128);
    assert_eq!(limit(), Some(128));
    limit_changed(&metrics, &b, 0, 128);
    limit_changed(&metrics, &b, 128, 6);
    assert_eq!(limit(), Some(134));
    limit_changed(&metrics, &a, 128, 0);
    assert_eq!(limit(), Some(6), "the pool forgot one");
    limit_changed(&metrics, &b, 6, 0);
    assert_eq!(limit(), None);
}

#[test]
fn requests_limit_is_connections_limit_times_streams() {
    let metrics = PoolMetrics::new();
    let tell = Tell {
        observer: &metrics,
        origin: origin("https://billing.test"),
    };
    let streams_changed = |from, to| {
        let origin = &tell.origin;
        metrics.on_event(&Event::StreamsChanged { origin, from, to });
    };
    let recorder = Recorder::new();
    let told = || {
        recorder.run(|| metrics.report());
        let gauge = format!("http_client_requests_limit{{{BILLING}}}");
        let told = metrics.snapshot().origins[0].requests_limit;
        let reported = recorder.series().get(&gauge).map(ToString::to_string);
        assert_eq!(told.map(|told| told.to_string()), reported);
        told
    };
    tell.connect_started();
    tell.opened(1, ms(1));
    assert_eq!(told(), None, "nobody told it");
    limit_changed(&metrics, &tell.origin, 0, 4);
    assert_eq!(told(), Some(4), "one at a time");
    streams_changed(0, 100);
    assert_eq!(told(), Some(400));
    tell.connect_started();
    tell.opened(2, ms(1));
    streams_changed(100, 150);
    assert_eq!(told(), Some(300));
    tell.closed(1, CloseReason::PeerClose);
    streams_changed(150, 0);
    assert_eq!(told(), Some(4), "the one that is left carries none");
    tell.closed(2, CloseReason::PeerClose);
    assert_eq!(told(), Some(4), "nobody knows what the next carries");
}
