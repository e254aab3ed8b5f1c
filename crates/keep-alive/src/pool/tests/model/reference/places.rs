//! The total cap, kept by an owner for which nothing happens between two looks.

use std::num::NonZeroUsize;
use std::time::Duration;

use tokio::time::Instant;
use tollgate_admission::{Acquire, Pool, Total};

use super::ORIGINS;

pub(super) struct Places {
    total: Total<usize>,
    /// Later than any request: spare connections wait behind them.
    spare_since: Instant,
    shares: [Share; ORIGINS],
}

/// An origin's part in the total.
#[derive(Clone, Copy, Default)]
struct Share {
    held: usize,
    /// Of these, those passed on to it and not used yet.
    granted: usize,
    yielding: (usize, usize),
    waits: bool,
}

impl Places {
    pub(super) fn new(max: NonZeroUsize, now: Instant) -> Self {
        Self {
            spare_since: now + Duration::from_secs(86_400),
            total: Total::new(max),
            shares: [Share::default(); ORIGINS],
        }
    }

    /// Takes a place for one more dial.
    pub(super) fn take(&mut self, of: usize, pool: &Pool<()>, now: Instant) -> bool {
        let share = &mut self.shares[of];
        if share.granted > 0 {
            share.granted -= 1;
            return true;
        }
        let since = pool.open_wanted_since(now).unwrap_or(self.spare_since);
        let acquired = self.total.acquire(&of, since, pool.places() == 0);
        share.held += usize::from(acquired == Acquire::Taken);
        share.waits |= acquired == Acquire::Wait;
        acquired == Acquire::Taken
    }

    /// Brings the total up to what this origin uses; the origins to which a place is passed on.
    pub(super) fn settle(&mut self, of: usize, pool: &Pool<()>, wants: bool) -> Vec<usize> {
        let (share, total) = (&mut self.shares[of], &mut self.total);
        let (places, yielding) = (pool.places(), pool.yielding());
        total.yields(std::mem::replace(&mut share.yielding, yielding), yielding);
        if share.waits && !wants {
            share.waits = false;
            total.withdraw(&of);
        }
        total.release(share.held.saturating_sub(places));
        total.take_beyond(places.saturating_sub(share.held));
        (share.held, share.granted) = (places, 0);
        std::iter::from_fn(|| total.take_free()).collect()
    }

    /// A place was passed on to this origin.
    pub(super) const fn granted(&mut self, of: usize) {
        self.shares[of].held += 1;
        self.shares[of].granted += 1;
    }

    pub(super) fn is_short(&self) -> bool {
        self.total.is_blocking() && self.total.is_short()
    }

    /// Returns true if this origin should close the connection whose lease comes back.
    pub(super) fn gives_way(&self, of: usize, pool: &Pool<()>, now: Instant) -> bool {
        let head = pool.head_waiting_since();
        self.total.is_blocking() && self.total.gives_way(&of, head, now)
    }
}
