//! What the holder of a ticket can do.

use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::RefuseReason;

use crate::effects::Effects;
use crate::outcome::{Departure, Refusal, Ticket};
use crate::queue::Queue;
use crate::queue::entry::{Cancelled, Polled, State};

/// A caller that is gone sooner has not waited: hedges and `select!` drop calls as soon as they begin.
const ABANDONED_FROM: Duration = Duration::from_millis(1);

impl<G, E> Queue<G, E> {
    /// Takes the answer if there is one; else remembers the waker.
    pub(crate) fn poll(
        &mut self,
        ticket: Ticket,
        now: Instant,
        waker: &Waker,
        effects: &mut Effects<E>,
    ) -> Polled<G, E> {
        let Some(entry) = self.entries.get_mut(ticket.0) else {
            // Collected or cancelled before: the totals have counted it, and do not count this
            // reason (A10).
            let reason = RefuseReason::Cancelled;
            return Polled::Refused(Refusal::at_once(reason, 0, None));
        };
        if matches!(entry.state, State::Waiting) {
            let passed = entry.deadline().is_some_and(|at| at <= now);
            // From its first poll on its caller is known to be there, and an open may be started
            // for it.
            self.unpolled -= usize::from(std::mem::take(&mut entry.unpolled));
            // The estimate that made it late may have changed: only a deadline that still holds
            // refuses.
            if !passed || !self.set_deadline(now, ticket.0.index) {
                let entry = self.entries.at_mut(ticket.0.index);
                // Cloning a waker is foreign code under the lock: not for a task that is known
                // already.
                if !entry.waker.as_ref().is_some_and(|w| w.will_wake(waker)) {
                    effects.discard(entry.waker.replace(waker.clone()));
                }
                return Polled::Pending;
            }
            // Its own timer was faster than `expire`.
            self.leave(ticket.0.index);
        }
        self.collect(ticket, now, effects)
    }

    fn collect(&mut self, ticket: Ticket, now: Instant, effects: &mut Effects<E>) -> Polled<G, E> {
        // Read while the entry is in its place.
        let late = self.late(now, ticket.0.index);
        let entry = self.entries.remove(ticket.0);
        let mut entry = entry.expect("the ticket was found just now");
        // Dropped after the unlock: the last waker of a task drops the task, and all that it holds.
        effects.discard(entry.waker.take());
        let timed_out = entry.refusal(now, RefuseReason::QueueTimeout, late, None);
        match entry.state {
            State::Waiting | State::Lapsed => Polled::Refused(timed_out),
            State::Refused(refusal) => Polled::Refused(refusal),
            // The lease goes on: granted, it would be cut in the middle of its exchange (A13).
            State::Reserved(value, _) if entry.is_over(now) => Polled::TooLate(value, timed_out),
            State::Reserved(value, waited) => Polled::Granted(value, waited, entry.ahead),
        }
    }

    /// The value reserved for a ticket.
    pub(crate) fn reserved(&self, ticket: Ticket) -> Option<&G> {
        match &self.entries.get(ticket.0)?.state {
            State::Reserved(value, _) => Some(value),
            _ => None,
        }
    }

    /// Takes a reservation back, or one that has lapsed in: the ticket waits again, among those at the
    /// head of the line, with what was left on its clock.
    pub(crate) fn revoke(&mut self, ticket: Ticket, now: Instant) {
        let Some(entry) = self.entries.get_mut(ticket.0) else {
            return;
        };
        entry.state = State::Waiting;
        // It has had its turn, and keeps the head in either order.
        entry.retry = true;
        // It is being polled.
        entry.unpolled = false;
        // Before it enters, which sets the deadline by the clock.
        self.start_clock(now, ticket.0.index);
        let _as_it_came = self.enter_again(now, ticket.0.index);
    }

    /// Returns the time at which a waiting ticket is to be polled if nothing wakes it before.
    pub(crate) fn deadline(&self, ticket: Ticket) -> Option<Instant> {
        let entry = self.entries.get(ticket.0)?;
        match entry.state {
            State::Waiting => entry.deadline(),
            _ => None,
        }
    }

    /// Forgets a ticket.
    ///
    /// The caller's age counts for what is known of callers, unless it waited for a dial of its own.
    pub(crate) fn cancel(
        &mut self,
        ticket: Ticket,
        now: Instant,
        effects: &mut Effects<E>,
    ) -> (Cancelled<G>, Departure) {
        let Some(entry) = self.entries.get(ticket.0) else {
            return (Cancelled::Nothing, Departure::NONE);
        };
        let mut left = entry.departure(now);
        // One with an open of its own gave up a dial, and one that is refused has its answer:
        // neither shows how long callers bear the queue.
        if !entry.is_covered() && !matches!(entry.state, State::Refused(_)) {
            let since = entry.since;
            if left.waited >= ABANDONED_FROM {
                left.reason = RefuseReason::Abandoned;
            }
            self.left_queue(now, since);
        }
        let entry = self.entries.at(ticket.0.index);
        // With an answer it has left the line already.
        if matches!(entry.state, State::Waiting) {
            self.leave(ticket.0.index);
        }
        let Some(mut entry) = self.entries.remove(ticket.0) else {
            return (Cancelled::Nothing, left);
        };
        // After the unlock, as in `collect`; and not woken, since its task has given the ticket up.
        effects.discard(entry.waker.take());
        let cancelled = match entry.state {
            State::Waiting | State::Lapsed => Cancelled::Waiting,
            State::Reserved(value, _) => Cancelled::Reserved(value),
            State::Refused(refusal) => {
                effects.discard_error(refusal.error);
                Cancelled::Refused
            }
        };
        (cancelled, left)
    }
}
