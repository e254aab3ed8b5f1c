//! What is remembered of an origin's HTTP/2 from one connection to the next.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use tollgate_core::Origin;

/// The pause before the second dial to a peer that ends its connections unused; it doubles with each.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest such pause.
const LONGEST: Duration = Duration::from_secs(1);

/// What is remembered of an origin's HTTP/2.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    doublings: AtomicU32,
    /// Connections in a row that the peer ended before it answered anything on them.
    unused: AtomicU32,
    /// Whether the peer requires HTTP/1.1.
    http1: AtomicU8,
}

/// The peer requires HTTP/1.1, which the next dials ask for.
const REQUIRED: u8 = 1;
/// It does, and the connector has agreed on HTTP/2 all the same.
const UNAVAILABLE: u8 = 2;

impl Memory {
    /// Returns the number of times that the interval of pings was doubled.
    pub(crate) fn pings_slowed(&self) -> u32 {
        self.doublings.load(Ordering::Relaxed)
    }

    /// The peer has ended a connection over its pings: the interval doubles for the next ones.
    pub(crate) fn slow_pings(&self, origin: &Origin) {
        let doublings = self.doublings.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::warn!(%origin, doublings, "the peer ended a connection over too many pings");
    }

    /// The peer requires HTTP/1.1. Returns false if that cannot be had.
    pub(crate) fn require_http1(&self, origin: &Origin) -> bool {
        let (order, new) = (Ordering::Relaxed, REQUIRED);
        // From unknown alone: that it cannot be had is final.
        let was = self.http1.compare_exchange(0, new, order, order);
        if was.is_ok() {
            tracing::warn!(%origin, "the peer requires HTTP/1.1, which is spoken to it from now on");
        }
        was != Err(UNAVAILABLE)
    }

    /// Returns true if a connection of HTTP/1.1 is to be asked for.
    pub(crate) fn is_http1_required(&self) -> bool {
        self.http1.load(Ordering::Relaxed) == REQUIRED
    }

    /// HTTP/1.1 was asked for, and the connector has agreed on HTTP/2 again: it is not asked any more.
    pub(crate) fn http1_is_unavailable(&self) {
        self.http1.store(UNAVAILABLE, Ordering::Relaxed);
    }

    /// The peer has ended a connection, on which it had answered something or nothing.
    pub(crate) fn ended(&self, answered: bool) {
        if answered {
            self.unused.store(0, Ordering::Relaxed);
        } else {
            self.unused.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the time that the next dial is put off, so that a peer that takes connections and
    /// ends them at once is not dialled in a circle. The first after a loss is not.
    pub(crate) fn pause(&self) -> Option<Duration> {
        let unused = self.unused.load(Ordering::Relaxed);
        let doublings = unused.checked_sub(2)?.min(8);
        Some((PAUSE * (1 << doublings)).min(LONGEST))
    }
}
