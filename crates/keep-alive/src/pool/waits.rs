//! How much an origin's requests have waited.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Counts waits that are over; what never waited is not among them.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    count: AtomicU64,
    nanos: AtomicU64,
    /// Those of them in which a dial of the request's own was in progress.
    dial_nanos: AtomicU64,
}

impl Waits {
    pub(crate) fn add(&self, waited: Duration, dial: Duration) {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos(waited), Relaxed);
        self.dial_nanos.fetch_add(nanos(dial), Relaxed);
        self.count.fetch_add(1, Relaxed);
    }

    /// Returns their number, their sum, and the part of it that dials took.
    pub(crate) fn get(&self) -> (u64, Duration, Duration) {
        let sum = |nanos: &AtomicU64| Duration::from_nanos(nanos.load(Relaxed));
        let count = self.count.load(Relaxed);
        (count, sum(&self.nanos), sum(&self.dial_nanos))
    }
}
