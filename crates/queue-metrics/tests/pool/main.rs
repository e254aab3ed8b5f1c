//! What `PoolMetrics` counts and what a recorder hears of it.
#![expect(clippy::float_cmp, reason = "whole numbers, which arrive as they are")]

#[path = "../common/mod.rs"]
mod common;
mod limits;
mod reports;

use std::time::Duration;

use common::{Recorder, Tell, dns_cache, dns_lookup, ms, one_of_everything, origin};
use tollgate_core::{CloseReason, Event, ExchangeEnd, Observer, RefuseReason};
use tollgate_queue_metrics::PoolMetrics;

const BILLING: &str = r#"server_address="billing.test",server_port="443""#;

#[test]
fn the_queue_peak_is_reported_three_times() {
    let metrics = PoolMetrics::new();
    let tell = Tell {
        observer: &metrics,
        origin: origin("https://billing.test"),
    };
    for ahead in 0..5 {
        tell.queued(ahead);
    }
    for _ in 0..4 {
        tell.granted(ms(1), true);
    }
    assert_eq!(metrics.snapshot().origins[0].queued_peak, 5);
    let recorder = Recorder::new();
    let peak = || {
        recorder.run(|| metrics.report());
        recorder.series()[&format!("http_client_queued_requests_peak{{{BILLING}}}")]
    };
    // Whoever scrapes at every other report sees it.
    assert_eq!([peak(), peak(), peak()], [5.0; 3]);
    assert_eq!(peak(), 1.0, "one still waits");
    tell.granted(Duration::from_nanos(1), true);
    assert_eq!([peak(), peak(), peak(), peak()], [1.0, 1.0, 1.0, 0.0]);
}

#[test]
fn only_a_refusal_after_queueing_counts_as_wait() {
    let metrics = PoolMetrics::new();
    let tell = Tell {
        observer: &metrics,
        origin: origin("https://billing.test"),
    };
    tell.refused(RefuseReason::QueueFull, Duration::ZERO);
    tell.queued(0);
    tell.refused(RefuseReason::QueueTimeout, ms(3_000));
    let stats = &metrics.snapshot().origins[0];
    assert_eq!((stats.waits.count, stats.waits.sum), (1, ms(3_000)));
    assert_eq!((stats.queued, stats.demands()), (0, 2));
}

#[test]
fn dns_is_counted_by_name_and_answer() {
    let metrics = PoolMetrics::new();
    for result in ["hit", "hit", "stale", "negative"] {
        dns_cache(&metrics, "billing.test", result);
    }
    dns_lookup(&metrics, "billing.test", Some("timeout"));
    let snapshot = metrics.snapshot();
    let name = &snapshot.names[0];
    assert_eq!(name.results, [("hit", 2), ("stale", 1), ("negative", 1)]);
    assert_eq!((name.failed[0].0, name.failed[0].1.count), ("timeout", 1));
    assert_eq!(name.answered.count, 0);
}

#[test]
fn two_pools_count_one_connection_separately() {
    let both = (PoolMetrics::new(), PoolMetrics::new());
    one_of_everything(&both);
    assert_eq!(both.0.snapshot(), both.1.snapshot());
    let closed = &both.0.snapshot().origins[0].closed;
    assert_eq!(closed, &[(CloseReason::PeerClose, 1)]);
}

#[test]
fn draining_connections_have_a_gauge_apart_from_open() {
    let metrics = PoolMetrics::new();
    let tell = Tell {
        observer: &metrics,
        origin: origin("https://billing.test"),
    };
    tell.connect_started();
    tell.opened(1, ms(1));
    tell.connect_started();
    tell.opened(2, ms(1));
    let told = || {
        let stats = metrics.snapshot().origins.remove(0);
        (stats.draining, stats.open)
    };
    let origin = &tell.origin;
    let (from, to) = (0, 1);
    metrics.on_event(&Event::DrainingChanged { origin, from, to });
    assert_eq!(told(), (1, 1));
    let (from, to) = (1, 0);
    metrics.on_event(&Event::DrainingChanged { origin, from, to });
    tell.closed(1, CloseReason::PeerClose);
    assert_eq!(told(), (0, 1));
    let recorder = Recorder::new();
    recorder.run(|| metrics.report());
    let gauge = format!("http_client_connections_draining{{{BILLING}}}");
    assert_eq!(recorder.series()[&gauge], 0.0);
}

/// Times of callers that left say how patient they are, not how long the origin takes.
#[test]
fn uses_leave_out_cancelled_and_broken_exchanges() {
    let metrics = PoolMetrics::new();
    let tell = Tell {
        observer: &metrics,
        origin: origin("https://billing.test"),
    };
    for end in ExchangeEnd::ALL {
        tell.granted(Duration::ZERO, true);
        tell.ended(ms(100), *end);
    }
    let stats = &metrics.snapshot().origins[0];
    assert_eq!((stats.uses.count, stats.in_flight), (1, 0));
    assert!(stats.exchanges.iter().all(|(_, count)| *count == 1));
    assert_eq!(stats.exchanges.len(), ExchangeEnd::ALL.len());
}

#[test]
fn abandoned_requests_are_rejections_of_their_own() {
    let metrics = PoolMetrics::new();
    let tell = Tell {
        observer: &metrics,
        origin: origin("https://billing.test"),
    };
    tell.queued(0);
    tell.refused(RefuseReason::Abandoned, ms(30));
    let recorder = Recorder::new();
    recorder.run(|| metrics.report());
    let series = recorder.series();
    let of = |reason: &str| {
        let name = "http_client_queue_rejections_total";
        let found = series.iter().find(|(key, _)| {
            key.starts_with(name) && key.contains(&format!("reason=\"{reason}\""))
        });
        *found.expect("a series").1
    };
    assert_eq!((of("abandoned"), of("cancelled")), (1.0, 0.0));
}
