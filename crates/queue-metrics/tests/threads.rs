//! Events of several threads at once.

#![expect(clippy::float_cmp, reason = "whole numbers, which arrive as they are")]

mod common;

use std::time::Duration;

use common::{Recorder, Tell, ms, origin};
use tollgate_queue_metrics::{OriginStats, PoolMetrics};

#[test]
fn reordered_events_leave_gauges_at_zero() {
    let metrics = PoolMetrics::new();
    let tell = Tell {
        observer: &metrics,
        origin: origin("https://billing.test"),
    };
    tell.granted(ms(1), true);
    tell.released(ms(1));
    let early = &metrics.snapshot().origins[0];
    assert_eq!((early.queued, early.in_flight), (0, 0));
    tell.queued(0);
    assert_eq!(metrics.snapshot().origins[0].queued, 0);
}

#[test]
fn threads_that_count_at_once_lose_nothing() {
    let metrics = PoolMetrics::new();
    let recorder = Recorder::new();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let metrics = &metrics;
            scope.spawn(move || {
                for i in 0..2_000_u64 {
                    let tell = Tell {
                        observer: metrics,
                        origin: origin(&format!("https://{}.test", (i + thread) % 3)),
                    };
                    tell.queued(0);
                    tell.granted(Duration::from_micros(i + 1), i % 2 == 0);
                    tell.released(ms(1));
                }
            });
        }
        for _ in 0..20 {
            recorder.run(|| metrics.report());
        }
    });
    recorder.run(|| metrics.report());
    let snapshot = metrics.snapshot();
    assert_eq!(snapshot.origins.len(), 3);
    let sum = |of: fn(&OriginStats) -> u64| snapshot.origins.iter().map(of).sum::<u64>();
    assert_eq!(sum(|o| o.granted), 8_000);
    assert_eq!(sum(|o| o.queued + o.in_flight), 0);
    let series = recorder.series();
    let waits = series
        .iter()
        .filter(|(name, _)| name.contains("time_in_queue_seconds_count"));
    assert_eq!(waits.map(|(_, count)| count).sum::<f64>(), 8_000.0);
}
