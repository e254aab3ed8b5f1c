use std::sync::Arc;
use std::sync::Mutex as StdMutex;

use metrics::HistogramFn;

use super::*;

/// What a recorder heard, as (value, count).
#[derive(Default)]
struct Heard(StdMutex<Vec<(f64, usize)>>);

impl HistogramFn for Heard {
    fn record(&self, value: f64) {
        self.record_many(value, 1);
    }

    fn record_many(&self, value: f64, count: usize) {
        if count > 0 {
            self.0.lock().unwrap().push((value, count));
        }
    }
}

impl Heard {
    fn new() -> (Arc<Self>, metrics::Histogram) {
        let heard = Arc::new(Self::default());
        let handle = metrics::Histogram::from_arc(Arc::clone(&heard));
        (heard, handle)
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().iter().map(|(_, count)| count).sum()
    }

    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    fn sum(&self) -> f64 {
        let heard = self.0.lock().unwrap();
        heard.iter().map(|(value, n)| value * *n as f64).sum()
    }
}

fn all() -> u64 {
    u64::MAX
}

#[test]
fn a_sample_on_a_bucket_bound_counts_below() {
    for bound in WAIT_BUCKETS {
        let (heard, handle) = Heard::new();
        let histogram = Histogram::of_waits();
        histogram.record(Duration::from_secs_f64(*bound));
        histogram.hand_over(&handle, &mut all());
        let heard = heard.0.lock().unwrap();
        assert!((heard[0].0 - bound).abs() < f64::EPSILON);
        assert!(heard[0].0 <= *bound, "{heard:?}");
    }
}

#[test]
fn counts_per_bucket_and_the_sum_arrive() {
    let (heard, handle) = Heard::new();
    let histogram = Histogram::of_waits();
    for micros in [0, 0, 1, 3, 700, 900, 40_000, 12_000_000] {
        histogram.record(Duration::from_micros(micros));
    }
    histogram.hand_over(&handle, &mut all());
    let counts: Vec<_> = heard.0.lock().unwrap().iter().map(|(_, n)| *n).collect();
    assert_eq!(counts, [2, 2, 2, 1, 1]);
    assert!((heard.sum() - 12.041_604).abs() < 1e-9);
    assert!(histogram.is_handed_over());
}

#[test]
fn histogram_sum_recovers_what_a_mean_rounds_off() {
    let (heard, handle) = Heard::new();
    let histogram = Histogram::of_waits();
    for _ in 0..1000 {
        for nanos in [1, 2] {
            histogram.record(Duration::from_nanos(nanos));
        }
        histogram.hand_over(&handle, &mut all());
    }
    assert!((heard.sum() - 3000e-9).abs() < 3e-9, "{}", heard.sum());
}

#[test]
fn nothing_is_taken_while_nobody_listens() {
    let (heard, handle) = Heard::new();
    let histogram = Histogram::of_waits();
    histogram.record(Duration::from_millis(3));
    histogram.hand_over(&metrics::Histogram::noop(), &mut all());
    histogram.hand_over(&handle, &mut all());
    histogram.hand_over(&handle, &mut all());
    assert_eq!(heard.count(), 1);
}

#[test]
fn a_budget_splits_a_bucket_and_loses_nothing() {
    let (heard, handle) = Heard::new();
    let histogram = Histogram::of_waits();
    for _ in 0..10 {
        histogram.record(Duration::from_millis(3));
    }
    let mut budget = 4;
    histogram.hand_over(&handle, &mut budget);
    assert_eq!((heard.count(), budget), (4, 0));
    assert!(!histogram.is_handed_over());
    histogram.hand_over(&handle, &mut all());
    assert_eq!(heard.count(), 10);
    assert!((heard.sum() - 0.03).abs() < 1e-9);
}

#[test]
fn a_recorder_that_comes_late_is_not_flooded() {
    let (heard, handle) = Heard::new();
    let histogram = Histogram::of_waits();
    for _ in 0..BACKLOG + 500 {
        histogram.record(Duration::ZERO);
    }
    histogram.hand_over(&handle, &mut all());
    assert_eq!(heard.count() as u64, BACKLOG);
    assert!(histogram.is_handed_over());
    assert_eq!(histogram.distribution().count, BACKLOG + 500);
}

#[test]
fn percentiles_are_the_bounds_that_hold_them() {
    let histogram = Histogram::of_waits();
    assert_eq!(histogram.distribution().p99, Duration::ZERO);
    for _ in 0..98 {
        histogram.record(Duration::ZERO);
    }
    histogram.record(Duration::from_millis(30));
    histogram.record(Duration::from_secs(20));
    let waits = histogram.distribution();
    assert_eq!(waits.p50, Duration::ZERO);
    assert_eq!(waits.p99, Duration::from_millis(50));
    assert_eq!(waits.sum, Duration::from_millis(20_030));
}

#[test]
fn samples_of_many_threads_all_arrive() {
    let (heard, handle) = Heard::new();
    let histogram = Histogram::of_waits();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for micros in 1..5_000 {
                    histogram.record(Duration::from_micros(micros));
                }
            });
        }
        for _ in 0..50 {
            histogram.hand_over(&handle, &mut all());
        }
    });
    histogram.hand_over(&handle, &mut all());
    assert_eq!(heard.count(), 4 * 4_999);
    assert!(
        (heard.sum() - 4.0 * 12.4975).abs() < 1e-4,
        "{}",
        heard.sum()
    );
}

#[test]
fn bucket_of_agrees_with_binary_search_of_bounds() {
    for histogram in [Histogram::of_waits(), Histogram::of_lifetimes()] {
        let powers = (0..64).map(|power| 1_u64 << power);
        for value in powers.chain(histogram.bounds.iter().copied()) {
            for nanos in [
                value.saturating_sub(1).max(1),
                value,
                value.saturating_add(1),
            ] {
                let searched = histogram.bounds.partition_point(|bound| *bound < nanos);
                assert_eq!(histogram.bucket_of(nanos), searched, "{nanos}");
            }
        }
        let last = histogram.bounds.len();
        assert_eq!(histogram.bucket_of(u64::MAX), last);
    }
}
