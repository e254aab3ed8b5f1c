//! What a snapshot looks like.

mod common;

use common::{Tell, one_of_everything, origin};
use tollgate_queue_metrics::PoolMetrics;

#[test]
fn snapshot_prints_as_an_aligned_table() {
    let metrics = PoolMetrics::new().connections_limit(8);
    one_of_everything(&metrics);
    let tell = Tell {
        observer: &metrics,
        origin: origin("http://a.test"),
    };
    tell.connect_started();
    let expected = "\
origin            limit  open  active  idle  opening  queued  peak  granted  reused  refused  failed  wait p50  wait p99
a.test:80             8     0       0     0        1       0     0        0       0        0       0       0ns       0ns
billing.test:443      8     1       0     1        0       0     1        2       1        1       1       0ns       0ns";
    assert_eq!(metrics.snapshot().to_string(), expected);
}

#[cfg(feature = "serde")]
#[test]
fn a_snapshot_is_json_as_it_stands() {
    let metrics = PoolMetrics::new();
    one_of_everything(&metrics);
    let json = serde_json::to_value(metrics.snapshot()).unwrap();
    assert_eq!(json["origins"][0]["server_address"], "billing.test");
    assert_eq!(json["origins"][0]["closed"][0][0], "peer_close");
    assert_eq!(json["names"][0]["results"][0][0], "miss");
}
