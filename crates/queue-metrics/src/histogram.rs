//! A histogram of atomics: the truth that a snapshot reads, and what a report hands over.
//!
//! Each bucket keeps its count and the sum of its samples, so a report can hand a recorder the
//! samples of a bucket as so many of their mean: counts per bucket stay exact, the sum within a
//! nanosecond a sample, and recording touches no recorder. See ADR 0001.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::IntoF64;

use crate::counters;
use crate::names::{LIFETIME_BUCKETS, WAIT_BUCKETS};
use crate::snapshot::Distribution;

/// How many samples of one bucket a report hands over at most; what exceeds it was recorded while
/// no recorder listened. An exporter keeps 16 bytes a sample until it is scraped.
const BACKLOG: u64 = 1_000_000;

/// The bounds of [`WAIT_BUCKETS`] and one bucket above them.
const SLOTS: usize = WAIT_BUCKETS.len() + 1;

static WAIT_FIRST: [u8; 64] = first(&WAIT_NANOS);
static LIFETIME_FIRST: [u8; 64] = first(&LIFETIME_NANOS);
static WAIT_NANOS: [u64; WAIT_BUCKETS.len()] = nanos(WAIT_BUCKETS);
static LIFETIME_NANOS: [u64; LIFETIME_BUCKETS.len()] = nanos(LIFETIME_BUCKETS);

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bounds are small and positive"
)]
const fn nanos<const N: usize>(seconds: &[f64]) -> [u64; N] {
    let mut nanos = [0; N];
    let mut i = 0;
    while i < N {
        nanos[i] = (seconds[i] * 1e9 + 0.5) as u64;
        i += 1;
    }
    nanos
}

#[expect(clippy::cast_possible_truncation, reason = "there are few buckets")]
const fn first(bounds: &[u64]) -> [u8; 64] {
    let mut first = [0; 64];
    let mut power = 0;
    while power < 64 {
        let mut bucket = 0;
        while bucket < bounds.len() && bounds[bucket] < 1 << power {
            bucket += 1;
        }
        first[power] = bucket as u8;
        power += 1;
    }
    first
}

#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: &'static [u64],
    /// By the power of two that is not above a value: the first bucket that it may belong to.
    first: &'static [u8; 64],
    zeros: AtomicU64,
    buckets: [Bucket; SLOTS],
    /// What recorders were given, zeros first. Guards numbers only: no recorder is called under it.
    given: Mutex<[Given; SLOTS + 1]>,
}

#[derive(Debug, Default)]
struct Bucket {
    count: AtomicU64,
    nanos: AtomicU64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Given {
    count: u64,
    nanos: u64,
}

/// So many samples of one value.
type Batch = (Duration, u64);

impl Histogram {
    pub(crate) fn of_waits() -> Self {
        Self::new(&WAIT_NANOS, &WAIT_FIRST)
    }

    pub(crate) fn of_lifetimes() -> Self {
        Self::new(&LIFETIME_NANOS, &LIFETIME_FIRST)
    }

    fn new(bounds: &'static [u64], first: &'static [u8; 64]) -> Self {
        Self {
            bounds,
            first,
            zeros: AtomicU64::new(0),
            buckets: Default::default(),
            given: Mutex::default(),
        }
    }

    pub(crate) fn record(&self, sample: Duration) {
        let nanos = counters::nanos(sample);
        if nanos == 0 {
            self.zeros.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let bucket = &self.buckets[self.bucket_of(nanos)];
        // The sum first: who reads the count sees at least what belongs to it.
        bucket.nanos.fetch_add(nanos, Ordering::Relaxed);
        bucket.count.fetch_add(1, Ordering::Release);
    }

    /// The first bucket whose bound is not below `nanos`. Buckets are not far apart from the one
    /// that a power of two leads to, which takes half of what a binary search does.
    #[inline]
    fn bucket_of(&self, nanos: u64) -> usize {
        let mut bucket = usize::from(self.first[nanos.ilog2() as usize]);
        while self.bounds.get(bucket).is_some_and(|bound| *bound < nanos) {
            bucket += 1;
        }
        bucket
    }

    /// Hands over at most `budget` samples, and lowers it by them; nothing if nobody listens.
    pub(crate) fn hand_over(&self, to: &metrics::Histogram, budget: &mut u64) {
        let mut listens = false;
        to.record_many(Probe(&mut listens), 0);
        if !listens {
            return;
        }
        let mut batches = [(Duration::ZERO, 0); SLOTS + 1];
        self.take(budget, &mut batches);
        for (value, count) in batches.into_iter().filter(|(_, count)| *count > 0) {
            to.record_many(value, usize::try_from(count).unwrap_or(usize::MAX));
        }
    }

    /// Whether [`Histogram::hand_over`] has taken all there is.
    #[cfg(test)]
    fn is_handed_over(&self) -> bool {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        (0..=SLOTS).all(|slot| self.count(slot) == given[slot].count)
    }

    fn take(&self, budget: &mut u64, batches: &mut [Batch; SLOTS + 1]) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        for (slot, batch) in batches.iter_mut().enumerate() {
            let count = self.count(slot);
            let pending = count.wrapping_sub(given[slot].count);
            if pending == 0 || *budget == 0 {
                continue;
            }
            let mean = self.mean_of_pending(slot, pending, given[slot].nanos);
            let excess = pending.saturating_sub(BACKLOG);
            let now = (pending - excess).min(*budget);
            *budget -= now;
            *batch = (Duration::from_nanos(mean), now);
            // What the mean rounded off stays in the sum, for the next time.
            given[slot].count = given[slot].count.wrapping_add(excess + now);
            let sum = mean.wrapping_mul(excess + now);
            given[slot].nanos = given[slot].nanos.wrapping_add(sum);
        }
    }

    /// A sample may be in the sum and not yet in the count, or the rounding of last time may weigh:
    /// the bounds keep the mean in its bucket, and the next mean makes up for it.
    fn mean_of_pending(&self, slot: usize, pending: u64, given: u64) -> u64 {
        let Some(bucket) = slot.checked_sub(1) else {
            return 0;
        };
        let sum = self.buckets[bucket].nanos.load(Ordering::Relaxed);
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
        let counts: [u64; SLOTS + 1] = std::array::from_fn(|slot| self.count(slot));
        let sums = self.buckets.iter().map(|b| b.nanos.load(Ordering::Relaxed));
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
        let Some(bucket) = slot.and_then(|slot| slot.checked_sub(1)) else {
            return Duration::ZERO;
        };
        let mean =
            || self.buckets[bucket].nanos.load(Ordering::Relaxed) / counts[bucket + 1].max(1);
        let bound = self.bounds.get(bucket).copied();
        Duration::from_nanos(bound.unwrap_or_else(mean))
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
