//! One origin's connections: the cap, the idle ones and the queue, in one machine.

mod back_off;
mod budget;
#[cfg(test)]
mod check;
mod config;
mod growth;
mod idle;
mod leases;
mod opens;
mod owner;
mod replace;
mod requests;
mod resource;
mod resources;
mod upkeep;

use std::num::NonZeroUsize;

use tokio::time::Instant;
use tollgate_core::QueueOrder;

use crate::effects::Effects;
use crate::jitter::Jitter;
use crate::locked::Machine;
use crate::queue::Queue;
use crate::stats::{PoolStats, Totals};
use back_off::BackOffState;
use budget::{Churn, Retries};
pub use config::{BackOff, PoolConfig};
use growth::Growth;
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
    /// The number of leases that an open is expected to bring.
    expected: usize,
    back_off: BackOffState<E>,
    growth: Growth<E>,
    churn: Churn,
    retries: Retries,
    upkeep: Upkeep,
    closed: bool,
    jitter: Jitter,
    effects: Effects<E>,
    totals: Totals,
    counts: Counts,
}

/// The reservation of a ticket.
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
        let mut queue = Queue::new();
        queue.set_discipline(config.discipline);
        Self {
            jitter: Jitter::new(config.seed),
            config,
            queue,
            resources: Resources::new(),
            opening: 0,
            expected: 1,
            back_off: BackOffState::new(),
            growth: Growth::new(),
            churn: Churn::new(),
            retries: Retries::new(),
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

    /// Returns the time since which the head of the queue waits; `None` without waiters.
    pub fn head_waiting_since(&self) -> Option<Instant> {
        self.queue.head_since()
    }

    /// Returns the most connections open, opening and closing at once.
    pub const fn limit(&self) -> usize {
        self.cap().get()
    }

    const fn cap(&self) -> NonZeroUsize {
        self.config.max_connections_per_origin
    }

    /// Returns the limits that hold at present.
    pub const fn config(&self) -> &PoolConfig {
        &self.config
    }

    /// Returns true if nothing is open, opening or closing, no ticket is open and the pool does not
    /// back off: it may be forgotten (A11). Drain it under the same lock, and whoever still finds
    /// it is refused as `Closed` and can look for its successor.
    pub fn is_empty(&self) -> bool {
        self.resources.len() == 0
            && self.opening == 0
            // Tickets, not the line: a lease that is reserved or an answer is still to be
            // collected.
            && self.queue.tickets() == 0
            // A successor would know of no pause, and dial a peer that is down at once.
            && !self.back_off.is_waiting()
    }

    /// Returns the number of leases that the connections of many offer, all together: those that
    /// take any.
    #[inline]
    pub const fn streams(&self) -> usize {
        self.resources.streams()
    }

    /// The order in which those that wait are served, or would be: for those who look often. There
    /// are [effects](crate::Effects) whenever it is another one.
    #[inline]
    pub const fn order(&self) -> QueueOrder {
        self.queue.learnt_order()
    }

    /// Returns the number of those that wait for an open of their own: [`PoolStats::queued_for_open`],
    /// for those who look often.
    #[inline]
    pub const fn queued_for_open(&self) -> usize {
        self.queue.covered()
    }

    /// Returns the number of connections that drain: [`PoolStats::draining`], for those who look
    /// often.
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
            queued_for_open: self.queue.covered(),
            unanswered: self.queue.tickets(),
            draining: gauges.draining,
            closing: gauges.closing,
            limit: self.limit(),
            peer_limit: self.growth.ceiling(),
            order: self.queue.order(),
            totals: Totals {
                turns: self.queue.turns(),
                ..self.totals
            },
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
