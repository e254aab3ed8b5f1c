//! A histogram of atomics: the truth that a snapshot reads, and what a report hands over.
//!
//! Each bucket keeps its count and the sum of its samples, so a report can hand a recorder the
//! samples of a bucket as so many of their mean: counts per bucket stay exact, the sum within a
//! nanosecond a sample, and recording touches no recorder. See ADR 0001.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::IntoF64;
use tollgate_core::lock::lock;

use crate::bounds::{self, Bounds, Measures};
use crate::counters;
use crate::names::WAIT_BUCKETS;
use crate::snapshot::Distribution;

/// The most samples of one bucket that a report hands over; the excess was recorded while no
/// recorder was installed. An exporter keeps 16 bytes a sample until it is scraped.
const BACKLOG: u64 = 1_000_000;

/// The bounds of [`WAIT_BUCKETS`] and one bucket above them.
const SLOTS: usize = WAIT_BUCKETS.len() + 1;

#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: &'static [u64],
    /// By the power of two that is not above a value: the first bucket that it may belong to.
    first: &'static [u8; 64],
    zeros: AtomicU64,
    buckets: [Bucket; SLOTS],
    /// The samples that recorders were given, zeros first. Guards numbers only: no recorder is
    /// called under it.
    given: Mutex<[Given; SLOTS + 1]>,
    measures: Measures,
}

#[derive(Debug, Default)]
struct Bucket {
    count: AtomicU64,
    sum: AtomicU64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Given {
    count: u64,
    sum: u64,
}

/// So many samples of one value.
type Batch = (u64, u64);

impl Histogram {
    pub(crate) fn of_waits() -> Self {
        Self::new(&bounds::WAITS)
    }

    pub(crate) fn of_lifetimes() -> Self {
        Self::new(&bounds::LIFETIMES)
    }

    pub(crate) fn of_sizes() -> Self {
        Self::new(&bounds::SIZES)
    }

    fn new(bounds: &Bounds) -> Self {
        Self {
            bounds: bounds.upper,
            first: bounds.first,
            zeros: AtomicU64::new(0),
            buckets: Default::default(),
            given: Mutex::default(),
            measures: bounds.measures,
        }
    }

    pub(crate) fn record(&self, sample: Duration) {
        debug_assert_eq!(self.measures, Measures::Time);
        self.add(counters::nanos(sample));
    }

    pub(crate) fn record_size(&self, bytes: u64) {
        debug_assert_eq!(self.measures, Measures::Size);
        self.add(bytes);
    }

    #[inline]
    fn add(&self, sample: u64) {
        // Apart: zero has no power of two, and the mean of a bucket with zeros would be a
        // nanosecond at least.
        if sample == 0 {
            self.zeros.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let bucket = &self.buckets[self.bucket_of(sample)];
        // The sum first: who reads the count sees at least what belongs to it.
        bucket.sum.fetch_add(sample, Ordering::Relaxed);
        bucket.count.fetch_add(1, Ordering::Release);
    }

    /// The first bucket whose bound is not below `sample`. Buckets are not far apart from the one
    /// that a power of two leads to, which takes half of what a binary search does.
    #[inline]
    fn bucket_of(&self, sample: u64) -> usize {
        let mut bucket = usize::from(self.first[sample.ilog2() as usize]);
        while self.bounds.get(bucket).is_some_and(|bound| *bound < sample) {
            bucket += 1;
        }
        bucket
    }

    /// Hands over at most `budget` samples, and lowers it by them; nothing without a recorder.
    pub(crate) fn hand_over(&self, to: &metrics::Histogram, budget: &mut u64) {
        let mut listens = false;
        to.record_many(Probe(&mut listens), 0);
        // Nothing is taken: a recorder that comes later gets it.
        if !listens {
            return;
        }
        let mut batches = [(0, 0); SLOTS + 1];
        self.take(budget, &mut batches);
        for (value, count) in batches.into_iter().filter(|(_, count)| *count > 0) {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            match self.measures {
                Measures::Time => to.record_many(Duration::from_nanos(value), count),
                Measures::Size => to.record_many(Bytes(value), count),
            }
        }
    }

    /// Returns true if [`Histogram::hand_over`] has taken all there is.
    #[cfg(test)]
    fn is_handed_over(&self) -> bool {
        let given = lock(&self.given);
        (0..=SLOTS).all(|slot| self.count(slot) == given[slot].count)
    }

    fn take(&self, budget: &mut u64, batches: &mut [Batch; SLOTS + 1]) {
        let mut given = lock(&self.given);
        for (slot, batch) in batches.iter_mut().enumerate() {
            let count = self.count(slot);
            let pending = count.wrapping_sub(given[slot].count);
            if pending == 0 || *budget == 0 {
                continue;
            }
            let mean = self.mean_of_pending(slot, pending, given[slot].sum);
            // Marked as given below, though it is not: what piled up beyond the backlog is dropped
            // for good.
            let excess = pending.saturating_sub(BACKLOG);
            let now = (pending - excess).min(*budget);
            *budget -= now;
            *batch = (mean, now);
            // What the mean rounded off stays in the sum, for the next time.
            given[slot].count = given[slot].count.wrapping_add(excess + now);
            let sum = mean.wrapping_mul(excess + now);
            given[slot].sum = given[slot].sum.wrapping_add(sum);
        }
    }

    /// A sample may be in the sum and not yet in the count, or the rounding of last time may weigh:
    /// the bounds keep the mean in its bucket, and the next mean makes up for it.
    fn mean_of_pending(&self, slot: usize, pending: u64, given: u64) -> u64 {
        let Some(bucket) = slot.checked_sub(1) else {
            return 0;
        };
        // After the count, whose acquire makes the sums of all samples that it counts visible.
        let sum = self.buckets[bucket].sum.load(Ordering::Relaxed);
        let (low, high) = self.range(bucket);
        // Behind only by what a clamp added too much.
        let behind = sum.wrapping_sub(given).cast_signed().max(0).unsigned_abs();
        (behind / pending).clamp(low + 1, high)
    }

    /// The bounds of a bucket: above the first, up to the second.
    fn range(&self, bucket: usize) -> (u64, u64) {
        let low = bucket.checked_sub(1).map_or(0, |below| self.bounds[below]);
        (low, self.bounds.get(bucket).copied().unwrap_or(u64::MAX))
    }

    fn count(&self, slot: usize) -> u64 {
        match slot.checked_sub(1) {
            None => self.zeros.load(Ordering::Relaxed),
            Some(bucket) => self.buckets[bucket].count.load(Ordering::Acquire),
        }
    }

    pub(crate) fn distribution(&self) -> Distribution {
        // The counts first: the sums then hold at least the samples that are counted.
        let counts: [u64; SLOTS + 1] = std::array::from_fn(|slot| self.count(slot));
        let sums = self.buckets.iter().map(|b| b.sum.load(Ordering::Relaxed));
        Distribution {
            count: counts.iter().sum(),
            sum: Duration::from_nanos(sums.fold(0, u64::wrapping_add)),
            p50: self.quantile(&counts, 50),
            p99: self.quantile(&counts, 99),
        }
    }

    /// The upper bound of the bucket that holds the percentile; above all bounds, that bucket's mean.
    fn quantile(&self, counts: &[u64; SLOTS + 1], percent: u64) -> Duration {
        let total: u64 = counts.iter().sum();
        let rank = (total.saturating_mul(percent)).div_ceil(100).max(1);
        let mut seen = 0;
        let slot = counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        // The slot before the buckets is that of the zeros.
        let Some(bucket) = slot.and_then(|slot| slot.checked_sub(1)) else {
            return Duration::ZERO;
        };
        let mean = || self.buckets[bucket].sum.load(Ordering::Relaxed) / counts[bucket + 1].max(1);
        let bound = self.bounds.get(bucket).copied();
        Duration::from_nanos(bound.unwrap_or_else(mean))
    }
}

/// A size, for a recorder.
struct Bytes(u64);

impl IntoF64 for Bytes {
    #[expect(clippy::cast_precision_loss, reason = "exact up to 8 PiB")]
    fn into_f64(self) -> f64 {
        self.0 as f64
    }
}

/// Learns whether a handle is deaf: only one with a recorder behind it asks for the value.
struct Probe<'a>(&'a mut bool);

impl IntoF64 for Probe<'_> {
    fn into_f64(self) -> f64 {
        *self.0 = true;
        0.0
    }
}

#[cfg(test)]
#[path = "histogram_tests.rs"]
mod tests;
