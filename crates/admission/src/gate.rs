//! A limit on what is in flight.

mod config;

use std::convert::Infallible;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::{QueueOrder, RefuseReason};

pub use self::config::GateConfig;
use crate::effects::Effects;
use crate::locked::Machine;
use crate::outcome::{Admission, Demand, Departure, Refusal, Ticket};
use crate::queue::{Cancelled, Polled, Queue, RESERVED_FOR};
use crate::stats::{GateStats, Totals};

/// A place in flight, to be given back with one [`Gate::release`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Granted {
    /// The time that the request waited; zero if it did not.
    pub waited: Duration,
    /// The number that were before it when it came.
    pub ahead: usize,
}

/// A counter with a limit and a queue before it.
///
/// First come, first served: a place that falls free goes to the head of the queue as a
/// reservation, and a newcomer never takes it past one who waits. When callers leave in numbers the
/// order turns to newest first ([`Discipline`](crate::Discipline)), for as long as they do.
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
        let mut queue = Queue::new();
        queue.set_discipline(config.discipline);
        Self {
            config,
            queue,
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
        // Whatever frees a place hands it out at once, so while one is free no ticket waits that a
        // newcomer could pass (A4).
        let free = self.has_room();
        debug_assert!(!free || self.queue.is_empty(), "a free place is handed out");
        if free && !self.closed && !demand.is_over(now) {
            self.taken += 1;
            self.totals.granted += 1;
            return Admission::Granted(Granted::default());
        }
        self.demand_queued(now, &demand)
    }

    fn demand_queued(&mut self, now: Instant, demand: &Demand) -> Admission<Granted, Infallible> {
        // Before the waiting are counted: those whose time is up keep no newcomer out.
        self.queue.expire(now, &mut self.effects);
        let ahead = self.queue.len();
        let late = self.queue.would_be_late(now, demand.ends_at);
        let reason = if self.closed {
            RefuseReason::Closed
        } else if demand.is_over(now) {
            RefuseReason::QueueTimeout
        } else if let Some(late) = late {
            let refusal = Refusal::late_at_once(late, ahead);
            self.totals.refused(&refusal);
            return Admission::Refused(refusal);
        } else if !demand.retry && ahead >= self.config.max_waiting {
            RefuseReason::QueueFull
        } else {
            let timeout = self.config.acquire_timeout;
            let ticket = self.queue.push(now, demand, timeout);
            self.totals.queued(self.queue.len());
            // The queue may have been only of those who have just left it.
            self.hand_out(now);
            return Admission::Queued(ticket);
        };
        let refusal = Refusal::at_once(reason, ahead, None);
        self.totals.refused(&refusal);
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
        // Before this ticket is looked at: a place that another has not collected may be its own
        // now.
        self.pass_lapsed_on(ticket, now);
        let effects = &mut self.effects;
        let refusal = match self.queue.poll(ticket, now, waker, effects) {
            Polled::Pending => return Poll::Pending,
            Polled::Granted((), wait, ahead) => {
                let waited = wait.total;
                self.totals.granted_after(waited);
                return Poll::Ready(Ok(Granted { waited, ahead }));
            }
            Polled::TooLate((), refusal) => {
                // Over between reservation and poll: the place goes to the next (A5).
                self.release(now);
                refusal
            }
            Polled::Refused(refusal) => refusal,
        };
        self.totals.refused(&refusal);
        Poll::Ready(Err(refusal))
    }

    /// Gives reservations that have lapsed to the next; puts `ticket` back into the line if its own has,
    /// since it is polled again.
    fn pass_lapsed_on(&mut self, ticket: Ticket, now: Instant) {
        if self.queue.is_lapsed(ticket) {
            self.queue.revoke(ticket, now);
            if self.closed {
                // It came back into a line that is refused already.
                self.refuse_all(now);
            } else {
                // A place may have fallen free while it was out of the line, and no release is to come
                // that would hand it out: a lost wakeup.
                self.hand_out(now);
            }
        }
        // Its own ticket, if it had lapsed, is at the head of the line again: these go to it first.
        while let Some(()) = self.queue.lapse(now) {
            self.release(now);
        }
    }

    /// Returns the time at which a ticket is to be polled again if nothing wakes it before; `None`
    /// once it is answered.
    pub fn deadline(&self, ticket: Ticket) -> Option<Instant> {
        self.queue.deadline(ticket)
    }

    /// Returns the time at which those that wait and were polled at `now` are to be polled again: a place
    /// that is not collected goes on then, and nothing else wakes them for it.
    pub fn next_lapse(&mut self, now: Instant) -> Option<Instant> {
        // Of one that is made after this poll the next poll learns, and that is in time.
        let next = self.queue.next_lapse();
        next.or_else(|| now.checked_add(RESERVED_FOR))
    }

    /// The request behind a ticket went away. A place reserved for it goes to the next.
    pub fn cancel(&mut self, ticket: Ticket, now: Instant) -> Departure {
        let (cancelled, left) = self.queue.cancel(ticket, now, &mut self.effects);
        match cancelled {
            Cancelled::Nothing => return left,
            Cancelled::Waiting | Cancelled::Refused => {}
            // Its place was off the free ones already: kept for a caller that is gone it would be
            // lost (A5).
            Cancelled::Reserved(()) => self.release(now),
        }
        self.totals.left(left.reason);
        left
    }

    /// Gives a place back.
    #[inline]
    pub fn release(&mut self, now: Instant) {
        debug_assert!(self.taken > 0, "each place is given back once");
        self.taken = self.taken.saturating_sub(1);
        // In the same step: a place left free beside those that wait would be a lost wakeup.
        if !self.queue.is_empty() {
            self.hand_out(now);
        }
    }

    /// An exchange came to its end `held` after its grant; to be reported before its place is given
    /// back. What requests with a limit can expect is judged by it.
    #[inline]
    pub fn used(&mut self, now: Instant, held: Duration) {
        self.totals.served += 1;
        self.queue.used(now, held);
    }

    /// The caller of an exchange went away `held` after its grant, for which it had `waited`; to be
    /// reported before its place is given back.
    pub fn abandoned(&mut self, now: Instant, waited: Duration, held: Duration) {
        self.totals.left_in_flight(waited, held);
        // No tick is owed for it, unlike in a pool: the next grant turns the order back by the
        // clock.
        self.queue.left_in_flight(now, waited, held);
    }

    fn hand_out(&mut self, now: Instant) {
        let limit = self.config.limit.get();
        // The limit is read in each round: a lower one lets nothing in until enough has come back.
        while self.taken < limit && self.queue.reserve(now, || (), &mut self.effects) {
            self.taken += 1;
        }
    }

    /// Refuses all who wait too long. Callers that poll at their [`deadline`](Self::deadline) and at
    /// [`next_lapse`](Self::next_lapse) do not need it.
    pub fn tick(&mut self, now: Instant) {
        // Before the rest expires: one that still has time may get it.
        while let Some(()) = self.queue.lapse(now) {
            self.release(now);
        }
        self.queue.expire(now, &mut self.effects);
    }

    /// Changes what is allowed. A higher limit lets waiters in at once; a lower one takes effect
    /// as places are given back. Waiters keep the timeout they came with.
    pub fn reconfigure(&mut self, now: Instant, config: GateConfig) {
        self.config = config;
        self.queue.set_discipline(config.discipline);
        // Places that a higher limit adds are released by none, so those that wait for them are
        // served here.
        self.hand_out(now);
    }

    /// Refuses all who wait and all who come from now on; what is in flight goes on.
    pub fn drain(&mut self, now: Instant) {
        self.closed = true;
        // Reservations stay: their tickets are out of the line, and what is granted may finish. Those
        // that are not collected lapse with a [`tick`](Self::tick).
        self.refuse_all(now);
    }

    fn refuse_all(&mut self, now: Instant) {
        let reason = RefuseReason::Closed;
        self.queue
            .refuse_all(now, reason, || None, &mut self.effects);
    }

    /// The order in force.
    #[inline]
    pub const fn order(&self) -> QueueOrder {
        self.queue.learnt_order()
    }

    /// Returns true if a place is free.
    #[inline]
    pub const fn has_room(&self) -> bool {
        self.taken < self.config.limit.get()
    }

    /// Returns true if nothing is in flight and no ticket is open.
    pub const fn is_empty(&self) -> bool {
        self.taken == 0 && self.queue.tickets() == 0
    }

    /// Returns the limits at present.
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
            order: self.queue.order(),
            totals: Totals {
                turns: self.queue.turns(),
                ..self.totals
            },
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
