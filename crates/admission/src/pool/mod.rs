//! One origin's connections: the cap, the idle ones and the queue, in one machine.

mod back_off;
#[cfg(test)]
mod check;
mod config;
mod idle;
mod leases;
mod opens;
mod owner;
mod requests;
mod resource;
mod resources;
mod upkeep;

use tokio::time::Instant;

use crate::effects::Effects;
use crate::jitter::Jitter;
use crate::locked::Machine;
use crate::queue::Queue;
use crate::stats::{PoolStats, Totals};
use back_off::BackOffState;
pub use config::{BackOff, PoolConfig};
pub use resource::{Gone, Grant, ResourceId, ResourceInfo, ResourceState, Returned};
use resources::Resources;
use upkeep::Upkeep;

/// The connections of one origin and the requests that want them.
///
/// `E` is what opens fail with; it is cloned for each request that is refused because of it, so it
/// should be cheap to clone. See the [crate's front page](crate) for who does what.
#[derive(Debug)]
pub struct Pool<E> {
    config: PoolConfig,
    queue: Queue<Lease, E>,
    resources: Resources,
    /// Opens in progress.
    opening: usize,
    /// How many leases an open is expected to bring.
    expected: usize,
    back_off: BackOffState<E>,
    upkeep: Upkeep,
    closed: bool,
    jitter: Jitter,
    effects: Effects<E>,
    totals: Totals,
    counts: Counts,
}

/// What is reserved for a ticket.
#[derive(Clone, Copy, Debug)]
struct Lease {
    resource: ResourceId,
    reused: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    reused: u64,
    opens: u64,
    open_failures: u64,
    opened: u64,
    closed: u64,
    back_offs: u64,
}

impl<E: Clone> Pool<E> {
    /// An empty pool.
    pub fn new(config: PoolConfig) -> Self {
        Self {
            jitter: Jitter::new(config.seed),
            config,
            queue: Queue::new(),
            resources: Resources::new(),
            opening: 0,
            expected: 1,
            back_off: BackOffState::new(),
            upkeep: Upkeep::new(),
            closed: false,
            effects: Effects::default(),
            totals: Totals::default(),
            counts: Counts::default(),
        }
    }

    /// The first of the line have the opens in progress as their own (A7).
    fn cover(&mut self, now: Instant) {
        let own = self.opening.saturating_mul(self.expected);
        self.queue.cover(now, own, &mut self.effects);
    }

    /// Since when the head of the queue waits; `None` if nobody does.
    pub fn head_waiting_since(&self) -> Option<Instant> {
        self.queue.head_since()
    }

    /// What the pool may do at present.
    pub const fn config(&self) -> &PoolConfig {
        &self.config
    }

    /// Whether [`drain`](Self::drain) was called.
    pub const fn is_draining(&self) -> bool {
        self.closed
    }

    /// Whether nothing is open, opening or closing, no ticket is open and the pool does not back
    /// off: it may be forgotten (A11). Drain it under the same lock, and whoever still finds it is
    /// refused as `Closed` and can look for its successor.
    pub fn is_empty(&self) -> bool {
        self.resources.len() == 0
            && self.opening == 0
            && self.queue.tickets() == 0
            && !self.back_off.is_waiting()
    }

    /// How many leases the connections of many offer, all together: those that take any.
    #[inline]
    pub const fn streams(&self) -> usize {
        self.resources.streams()
    }

    /// How many connections drain: [`PoolStats::draining`], for those who look often.
    #[inline]
    pub const fn draining(&self) -> usize {
        self.resources.draining()
    }

    /// The gauges and counters.
    pub fn stats(&self) -> PoolStats {
        let gauges = self.resources.gauges();
        PoolStats {
            open: gauges.open,
            idle: gauges.idle,
            active: gauges.open - gauges.idle,
            in_flight: gauges.leases,
            connecting: self.opening,
            queued: self.queue.len(),
            unanswered: self.queue.tickets(),
            draining: gauges.draining,
            closing: gauges.closing,
            limit: self.config.max_open.get(),
            totals: self.totals,
            reused: self.counts.reused,
            opens: self.counts.opens,
            open_failures: self.counts.open_failures,
            opened: self.counts.opened,
            closed: self.counts.closed,
            back_offs: self.counts.back_offs,
        }
    }
}

impl<E> Machine for Pool<E> {
    type Error = E;

    #[inline]
    fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    fn take_effects(&mut self) -> Effects<E> {
        std::mem::take(&mut self.effects)
    }
}
