//! How many connections an origin may have, and who says so.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::counters::Level;

#[derive(Debug, Default)]
pub(crate) struct Limit {
    /// What the pools say: the limits of all origins of a series together.
    pools: Level,
    /// What the application says, zero until it does: it wins.
    told: AtomicU64,
    /// Whether anybody ever said anything.
    known: AtomicBool,
}

impl Limit {
    /// A pool says that one of its origins has another limit.
    pub(crate) fn shift(&self, from: usize, to: usize) {
        self.known.store(true, Relaxed);
        self.pools.shift(from, to);
    }

    /// The application says what the limit is.
    pub(crate) fn tell(&self, limit: u64) {
        self.known.store(true, Relaxed);
        self.told.store(limit, Relaxed);
    }

    /// The limit there is; zero if there is none.
    pub(crate) fn get(&self) -> u64 {
        match self.told.load(Relaxed) {
            0 => self.pools.get(),
            told => told,
        }
    }

    /// What a gauge says of a limit that is none: it had a value once, which would stay.
    pub(crate) fn none(&self) -> Option<u64> {
        self.known.load(Relaxed).then_some(0)
    }
}
