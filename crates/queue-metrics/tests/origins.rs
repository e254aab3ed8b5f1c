//! How many series origins have, and what they are called.

mod common;

use std::num::NonZeroUsize;
use std::time::Duration;

use common::{Recorder, Tell, dns_cache, ms, origin};
use metrics_exporter_prometheus::PrometheusBuilder;
use tollgate_queue_metrics::PoolMetrics;

#[test]
fn ten_thousand_origins_leave_bounded_series() {
    let metrics = PoolMetrics::new();
    for i in 0..10_000 {
        let tell = Tell {
            observer: &metrics,
            origin: origin(&format!("https://shard-{i}.test")),
        };
        tell.queued(0);
        tell.granted(ms(1), false);
        tell.released(ms(1));
        dns_cache(&metrics, &format!("shard-{i}.test"), "hit");
    }
    let snapshot = metrics.snapshot();
    assert_eq!((snapshot.origins.len(), snapshot.names.len()), (101, 101));
    let (other, own) = snapshot.origins.split_last().unwrap();
    assert_eq!((&*other.server_address, other.granted), ("_other", 9_900));
    assert!(own.iter().all(|origin| origin.granted == 1));
    assert!((9_700..=10_100).contains(&snapshot.origins_overflowed));
    let recorder = Recorder::new();
    recorder.run(|| metrics.report());
    // 42 counters, 8 gauges and 7 histograms (sum and count) an origin; 5 and 1 a name.
    assert_eq!(
        recorder.series().len(),
        101 * (42 + 8 + 14) + 101 * (5 + 2) + 1
    );
}

#[test]
fn memory_is_bounded_however_many_origins_are_met() {
    let metrics = PoolMetrics::new();
    let recorder = PrometheusBuilder::new().build_recorder();
    let meet = |range: std::ops::Range<u32>| {
        for i in range {
            let tell = Tell {
                observer: &metrics,
                origin: origin(&format!("https://shard-{i}.test")),
            };
            tell.queued(0);
            tell.granted(ms(1), false);
            tell.released(ms(1));
            dns_cache(&metrics, &format!("shard-{i}.test"), "hit");
        }
        metrics::with_local_recorder(&recorder, || metrics.report());
        let page = recorder.handle().render();
        assert!(page.len() < 2_000_000, "{} bytes to scrape", page.len());
    };
    let kept = |range| allocation_counter::measure(|| meet(range)).bytes_current;
    let first = kept(0..1_000);
    let (second, third) = (kept(1_000..10_000), kept(10_000..19_000));
    assert!(first < 4_500_000, "{first} bytes for a hundred origins");
    // An exporter's sketches and its tables grow now and then, by what values they meet: 50 bytes for
    // each of 9,000 origins, of which each would take kilobytes.
    assert!(
        second < 450_000 && third < 450_000,
        "{second}, {third} bytes"
    );
}

#[test]
fn schemes_of_one_host_and_port_share_series() {
    let metrics = PoolMetrics::new();
    for scheme in ["http", "https"] {
        let origin = origin(&format!("{scheme}://billing.test:8443"));
        Tell {
            observer: &metrics,
            origin,
        }
        .granted(Duration::ZERO, true);
    }
    let snapshot = metrics.snapshot();
    assert_eq!(snapshot.origins.len(), 1);
    assert_eq!(snapshot.origins[0].reused, 2);
}

#[test]
fn grouped_origins_share_one_series_without_overflow() {
    let metrics = PoolMetrics::new()
        .max_origins(NonZeroUsize::new(2).unwrap())
        .group_by(|origin| match origin.host() {
            host if host.ends_with(".s3.test") => "*.s3.test".into(),
            host => host.into(),
        });
    for i in 0..3_000 {
        let tell = Tell {
            observer: &metrics,
            origin: origin(&format!("https://bucket-{i}.s3.test")),
        };
        tell.granted(Duration::ZERO, false);
    }
    let snapshot = metrics.snapshot();
    assert_eq!(
        (snapshot.origins.len(), snapshot.origins_overflowed),
        (1, 0)
    );
    assert_eq!(snapshot.origins[0].server_address, "*.s3.test");
    assert_eq!(snapshot.origins[0].granted, 3_000);
}
