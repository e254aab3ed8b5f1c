//! One origin's connections: the cap, the idle ones and the queue, in one machine.

mod back_off;
mod config;
mod leases;
mod opens;
mod owner;
mod resource;
mod resources;
mod upkeep;

use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::RefuseReason;

use crate::effects::Effects;
use crate::jitter::Jitter;
use crate::locked::Machine;
use crate::outcome::{Admission, Demand, Refusal, Ticket};
use crate::queue::{Cancelled, Polled, Queue};
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

    /// Asks for a lease.
    ///
    /// The one that became idle last is granted at once. Otherwise the request waits, if there is
    /// room in the queue. It is refused if the queue is full, if the pool backs off (with the error
    /// of the last open) or is draining, or if the request is over.
    #[inline]
    pub fn demand(&mut self, now: Instant, demand: Demand) -> Admission<Grant, E> {
        self.totals.demands += 1;
        if !demand.is_over(now) {
            // A connection has room only when nobody waits, so this passes nobody (A4).
            if let Some(lease) = self.check_out(now) {
                self.totals.granted += 1;
                return Admission::Granted(self.grant(lease, Duration::ZERO, 0));
            }
        }
        self.demand_queued(now, &demand)
    }

    fn demand_queued(&mut self, now: Instant, demand: &Demand) -> Admission<Grant, E> {
        self.queue.expire(now, &mut self.effects);
        self.back_off.tick(now);
        let ahead = self.queue.len();
        let mut error = None;
        let reason = if self.closed {
            RefuseReason::Closed
        } else if demand.is_over(now) {
            RefuseReason::TimedOut
        } else if self.back_off.is_waiting() {
            error = self.back_off.last_error();
            RefuseReason::BackingOff
        } else if !demand.retry && ahead >= self.waiting_room() {
            RefuseReason::Full
        } else {
            let timeout = self.config.acquire_timeout;
            let ticket = self.queue.push(now, demand, timeout);
            self.totals.queued(ahead + 1);
            self.cover(now);
            self.demand_seen(now);
            return Admission::Queued(ticket);
        };
        let refusal = Refusal::at_once(reason, ahead, error);
        self.totals.refused(&refusal);
        self.cover(now);
        Admission::Refused(refusal)
    }

    /// One for each place in which there may still be a connection of one's own, and
    /// `max_waiting` behind them.
    fn waiting_room(&self) -> usize {
        let own = self
            .config
            .max_open
            .get()
            .saturating_sub(self.occupied() - self.opening);
        self.config.max_waiting.saturating_add(own)
    }

    /// Takes the answer to a ticket, or remembers whom to wake.
    ///
    /// A lease that was reserved is preferred over an acquire timeout that has passed since; a
    /// request that is over itself is refused, and the lease goes on. If the connection was lost
    /// after it was reserved, the ticket waits again, first in the queue.
    pub fn poll(
        &mut self,
        ticket: Ticket,
        now: Instant,
        waker: &Waker,
    ) -> Poll<Result<Grant, Refusal<E>>> {
        self.revoke_if_lost(ticket, now);
        let polled = self.queue.poll(ticket, now, waker, &mut self.effects);
        let refusal = match polled {
            Polled::Pending => return Poll::Pending,
            Polled::Granted(lease, waited, ahead) => {
                self.totals.granted_after(waited);
                return Poll::Ready(Ok(self.grant(lease, waited, ahead)));
            }
            Polled::TooLate(lease, refusal) => {
                self.lease_returned(lease.resource, now, Returned::Unused);
                refusal
            }
            Polled::Refused(refusal) => refusal,
        };
        self.totals.refused(&refusal);
        self.cover(now);
        Poll::Ready(Err(refusal))
    }

    #[inline]
    fn grant(&mut self, lease: Lease, waited: Duration, ahead: usize) -> Grant {
        let Lease { resource, reused } = lease;
        self.counts.reused += u64::from(reused);
        Grant {
            resource,
            reused,
            waited,
            ahead,
        }
    }

    /// Puts a ticket whose reserved connection is not live any more back to the head of the queue.
    fn revoke_if_lost(&mut self, ticket: Ticket, now: Instant) {
        let Some(lease) = self.queue.reserved(ticket).copied() else {
            return;
        };
        if self.resources.keeps_reservations(lease.resource) {
            return;
        }
        self.queue.revoke(ticket, now);
        self.lease_returned(lease.resource, now, Returned::Unused);
        if self.closed {
            self.refuse_all(now, RefuseReason::Closed);
        } else if let Some(lease) = self.check_out(now) {
            // Where there is room nobody else waits, but its own request may be over.
            if !self.queue.reserve(now, || lease, &mut self.effects) {
                self.lease_returned(lease.resource, now, Returned::Unused);
            }
        }
        self.cover(now);
    }

    fn refuse_all(&mut self, now: Instant, reason: RefuseReason) {
        let error = self.back_off.last_error();
        let error = || match reason {
            RefuseReason::OpenFailed => error.clone(),
            _ => None,
        };
        self.queue.refuse_all(now, reason, error, &mut self.effects);
    }

    /// When a ticket is to be polled again if nothing wakes it before. `None` once it is answered,
    /// and while its clock stands still (A7) and the request has no deadline of its own.
    pub fn deadline(&self, ticket: Ticket) -> Option<Instant> {
        self.queue.deadline(ticket)
    }

    /// The request behind a ticket went away. A lease reserved for it goes to the next, or idles.
    /// The open it caused goes on.
    pub fn cancel(&mut self, ticket: Ticket, now: Instant) {
        match self.queue.cancel(ticket, &mut self.effects) {
            Cancelled::Nothing => return,
            Cancelled::Waiting => self.cover(now),
            Cancelled::Refused => {}
            Cancelled::Reserved(lease) => {
                self.lease_returned(lease.resource, now, Returned::Unused);
            }
        }
        self.totals.cancelled += 1;
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
