//! How much an origin's requests have waited.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Counts waits that are over; what never waited is not among them.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    count: AtomicU64,
    nanos: AtomicU64,
}

impl Waits {
    pub(crate) fn add(&self, waited: Duration) {
        let nanos = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Relaxed);
        self.count.fetch_add(1, Relaxed);
    }

    /// How many there were, and how long they were all together.
    pub(crate) fn get(&self) -> (u64, Duration) {
        let nanos = self.nanos.load(Relaxed);
        (self.count.load(Relaxed), Duration::from_nanos(nanos))
    }
}
