//! A limit on what is in flight.

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::RefuseReason;

use crate::effects::Effects;
use crate::locked::Machine;
use crate::outcome::{Admission, Demand, Refusal, Ticket};
use crate::queue::{Cancelled, Polled, Queue};
use crate::stats::{GateStats, Totals};

/// What a [`Gate`] allows.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct GateConfig {
    /// How many may be in flight.
    pub limit: NonZeroUsize,
    /// How many may wait; 0 means nobody ever does. Default: 1,024, Envoy's `max_pending_requests`.
    pub max_waiting: usize,
    /// How long each may wait. Default: 3 s, linkerd's failfast timeout.
    pub acquire_timeout: Duration,
}

impl GateConfig {
    /// A limit, with the defaults for the rest.
    pub const fn new(limit: NonZeroUsize) -> Self {
        Self {
            limit,
            max_waiting: crate::DEFAULT_MAX_WAITING,
            acquire_timeout: crate::DEFAULT_ACQUIRE_TIMEOUT,
        }
    }

    /// Sets [`GateConfig::max_waiting`].
    #[must_use]
    pub const fn max_waiting(mut self, max_waiting: usize) -> Self {
        self.max_waiting = max_waiting;
        self
    }

    /// Sets [`GateConfig::acquire_timeout`].
    #[must_use]
    pub const fn acquire_timeout(mut self, acquire_timeout: Duration) -> Self {
        self.acquire_timeout = acquire_timeout;
        self
    }
}

/// A place in flight, to be given back with one [`Gate::release`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Granted {
    /// How long the request waited; zero if it did not.
    pub waited: Duration,
    /// How many were before it when it came.
    pub ahead: usize,
}

/// A counter with a limit and a queue before it.
///
/// First come, first served: a place that falls free goes to the head of the queue as a
/// reservation, and a newcomer never takes it past one who waits.
#[derive(Debug)]
pub struct Gate {
    config: GateConfig,
    queue: Queue<(), Infallible>,
    /// Granted and reserved.
    taken: usize,
    closed: bool,
    effects: Effects<Infallible>,
    totals: Totals,
}

impl Gate {
    /// An open gate with nothing in flight.
    pub fn new(config: GateConfig) -> Self {
        Self {
            config,
            queue: Queue::new(),
            taken: 0,
            closed: false,
            effects: Effects::default(),
            totals: Totals::default(),
        }
    }

    /// Asks for a place.
    #[inline]
    pub fn demand(&mut self, now: Instant, demand: Demand) -> Admission<Granted, Infallible> {
        self.totals.demands += 1;
        // Whatever frees a place hands it out at once, so while one is free nobody waits whom a
        // newcomer could pass (A4).
        let free = self.taken < self.config.limit.get();
        debug_assert!(!free || self.queue.is_empty(), "a free place is handed out");
        if free && !self.closed && !demand.is_over(now) {
            self.taken += 1;
            self.totals.granted += 1;
            return Admission::Granted(Granted::default());
        }
        self.demand_queued(now, &demand)
    }

    fn demand_queued(&mut self, now: Instant, demand: &Demand) -> Admission<Granted, Infallible> {
        self.queue.expire(now, &mut self.effects);
        let reason = if self.closed {
            RefuseReason::Closed
        } else if demand.is_over(now) {
            RefuseReason::TimedOut
        } else if !demand.retry && self.queue.len() >= self.config.max_waiting {
            RefuseReason::Full
        } else {
            let timeout = self.config.acquire_timeout;
            let ticket = self.queue.push(now, demand, timeout);
            self.totals.queued(self.queue.len());
            // The queue may have been only of those who have just left it.
            self.hand_out(now);
            return Admission::Queued(ticket);
        };
        let refusal = Refusal::at_once(reason, self.queue.len(), None);
        self.totals.refused(refusal.reason);
        Admission::Refused(refusal)
    }

    /// Takes the answer to a ticket, or remembers whom to wake.
    ///
    /// A place that was reserved is preferred over an acquire timeout that has passed since; a
    /// request that is over itself is refused, and the place goes on.
    pub fn poll(
        &mut self,
        ticket: Ticket,
        now: Instant,
        waker: &Waker,
    ) -> Poll<Result<Granted, Refusal<Infallible>>> {
        let effects = &mut self.effects;
        let refusal = match self.queue.poll(ticket, now, waker, effects) {
            Polled::Pending => return Poll::Pending,
            Polled::Granted((), waited, ahead) => {
                self.totals.granted_after(waited);
                return Poll::Ready(Ok(Granted { waited, ahead }));
            }
            Polled::TooLate((), refusal) => {
                self.release(now);
                refusal
            }
            Polled::Refused(refusal) => refusal,
        };
        self.totals.refused(refusal.reason);
        Poll::Ready(Err(refusal))
    }

    /// When a ticket is to be polled again if nothing wakes it before; `None` once it is answered.
    pub fn deadline(&self, ticket: Ticket) -> Option<Instant> {
        self.queue.deadline(ticket)
    }

    /// The request behind a ticket went away. A place reserved for it goes to the next.
    pub fn cancel(&mut self, ticket: Ticket, now: Instant) {
        match self.queue.cancel(ticket, &mut self.effects) {
            Cancelled::Nothing => return,
            Cancelled::Waiting | Cancelled::Refused => {}
            Cancelled::Reserved(()) => self.release(now),
        }
        self.totals.cancelled += 1;
    }

    /// Gives a place back.
    #[inline]
    pub fn release(&mut self, now: Instant) {
        debug_assert!(self.taken > 0, "each place is given back once");
        self.taken = self.taken.saturating_sub(1);
        if !self.queue.is_empty() {
            self.hand_out(now);
        }
    }

    fn hand_out(&mut self, now: Instant) {
        let limit = self.config.limit.get();
        while self.taken < limit && self.queue.reserve(now, || (), &mut self.effects) {
            self.taken += 1;
        }
    }

    /// Refuses all who wait too long. Callers that poll at their [`deadline`](Self::deadline) do
    /// not need it.
    pub fn tick(&mut self, now: Instant) {
        self.queue.expire(now, &mut self.effects);
    }

    /// Changes what is allowed. A higher limit lets waiters in at once; a lower one takes effect
    /// as places are given back. Waiters keep the timeout they came with.
    pub fn reconfigure(&mut self, now: Instant, config: GateConfig) {
        self.config = config;
        self.hand_out(now);
    }

    /// Refuses all who wait and all who come from now on; what is in flight goes on.
    pub fn drain(&mut self, now: Instant) {
        self.closed = true;
        let reason = RefuseReason::Closed;
        let effects = &mut self.effects;
        self.queue.refuse_all(now, reason, || None, effects);
    }

    /// Whether nothing is in flight and no ticket is open.
    pub const fn is_empty(&self) -> bool {
        self.taken == 0 && self.queue.tickets() == 0
    }

    /// What is allowed at present.
    pub const fn config(&self) -> GateConfig {
        self.config
    }

    /// The gauges and counters.
    pub fn stats(&self) -> GateStats {
        GateStats {
            in_flight: self.taken,
            queued: self.queue.len(),
            unanswered: self.queue.tickets(),
            limit: self.config.limit.get(),
            totals: self.totals,
        }
    }
}

impl Machine for Gate {
    type Error = Infallible;

    #[inline]
    fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    fn take_effects(&mut self) -> Effects<Infallible> {
        std::mem::take(&mut self.effects)
    }
}

#[cfg(test)]
impl Gate {
    pub(crate) fn peek(&self, ticket: Ticket) -> Option<crate::queue::Peek<()>> {
        self.queue.peek(ticket)
    }

    pub(crate) fn line(&self) -> Vec<Ticket> {
        self.queue.line()
    }

    pub(crate) fn check(&self) {
        self.queue.check();
    }
}
