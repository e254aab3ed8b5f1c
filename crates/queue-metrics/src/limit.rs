//! The limit on an origin's connections, and its sources.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::counters::Level;

#[derive(Debug, Default)]
pub(crate) struct Limit {
    /// The sum of the limits that pools report for the origins of a series.
    pools: Level,
    /// The limit set by the application, zero until it is set; it takes precedence.
    told: AtomicU64,
    /// True once any limit was reported or set.
    known: AtomicBool,
}

impl Limit {
    /// Counts a pool's report that one of its origins has another limit.
    pub(crate) fn shift(&self, from: usize, to: usize) {
        self.known.store(true, Relaxed);
        self.pools.shift(from, to);
    }

    /// Sets the limit that the application gives.
    pub(crate) fn tell(&self, limit: u64) {
        self.known.store(true, Relaxed);
        self.told.store(limit, Relaxed);
    }

    /// The limit there is; zero if there is none.
    pub(crate) fn get(&self) -> u64 {
        match self.told.load(Relaxed) {
            // Zero takes the application's limit back, and the pools' counts again.
            0 => self.pools.get(),
            told => told,
        }
    }

    /// Returns the gauge's value where the limit is gone: zero, if it had one once, which would
    /// stay.
    pub(crate) fn none(&self) -> Option<u64> {
        self.known.load(Relaxed).then_some(0)
    }
}
