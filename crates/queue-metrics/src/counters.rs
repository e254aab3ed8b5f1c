//! What a count is made of: relaxed atomics.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A time as counters add it up.
#[inline]
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A value that goes up and down. Events of different tasks can overtake each other, so it may be
/// negative for a moment; it reads as zero then.
#[derive(Debug, Default)]
pub(crate) struct Level(AtomicI64);

impl Level {
    pub(crate) fn rise(&self) -> u64 {
        unsigned(self.0.fetch_add(1, Relaxed) + 1)
    }

    /// Decrements, and returns the level before.
    pub(crate) fn fall(&self) -> u64 {
        unsigned(self.0.fetch_sub(1, Relaxed))
    }

    /// One of the things that the level adds up was `from` and is `to`.
    pub(crate) fn shift(&self, from: usize, to: usize) {
        self.0.fetch_add(signed(to) - signed(from), Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        unsigned(self.0.load(Relaxed))
    }
}

/// A limit can be as good as none: so many of it that thousands add up.
const MOST: i64 = 1 << 48;

fn signed(level: usize) -> i64 {
    i64::try_from(level).map_or(MOST, |level| level.min(MOST))
}

fn unsigned(level: i64) -> u64 {
    level.max(0).unsigned_abs()
}

/// A level, and the highest that it was of late.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    now: Level,
    peak: AtomicU64,
    /// The peaks of the reports before. A scrape reads the last report alone, so a burst has to be
    /// in as many as may come between two scrapes.
    earlier: [AtomicU64; PEAK_REPORTS - 1],
}

/// The number of reports that a peak is in: 30 s at [`REPORT_EVERY`](crate::REPORT_EVERY), the
/// longest that Prometheus usually scrapes at.
pub(crate) const PEAK_REPORTS: usize = 3;

impl Queue {
    /// Counts one more, and returns the number with it.
    pub(crate) fn enter(&self) -> u64 {
        let now = self.now.rise();
        self.peak.fetch_max(now, Relaxed);
        now
    }

    pub(crate) fn leave(&self) {
        self.now.fall();
    }

    pub(crate) fn len(&self) -> u64 {
        self.now.get()
    }

    /// The peak since the last report, and of the reports before it that show it too.
    pub(crate) fn peak(&self) -> u64 {
        let earlier = self.earlier.iter().map(|peak| peak.load(Relaxed));
        earlier.fold(self.peak.load(Relaxed), u64::max)
    }

    /// The peak for a report, after which it starts again from those who wait.
    pub(crate) fn report_peak(&self) -> u64 {
        let reported = self.peak();
        let last = self.peak.swap(0, Relaxed);
        // Not in the swap: who entered between the two would be lost.
        self.peak.fetch_max(self.len(), Relaxed);
        // Moves each peak on by a report; the oldest falls out.
        self.earlier
            .iter()
            .fold(last, |last, peak| peak.swap(last, Relaxed));
        reported
    }
}

/// A counter for each value of a closed list.
#[derive(Debug)]
pub(crate) struct Tally<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Tally<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl<const N: usize> Tally<N> {
    pub(crate) fn add(&self, index: usize) {
        // An index beyond the list would be a value newer than the list: not counted, no panic.
        if let Some(counter) = self.0.get(index) {
            counter.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn get(&self) -> [u64; N] {
        std::array::from_fn(|index| self.0[index].load(Relaxed))
    }
}
