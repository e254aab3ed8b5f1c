//! What the holder of a ticket can do.

use std::task::Waker;

use tokio::time::Instant;
use tollgate_core::RefuseReason;

use crate::effects::Effects;
use crate::outcome::{Refusal, Ticket};
use crate::queue::Queue;
use crate::queue::entry::{Cancelled, Polled, State};

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
            let reason = RefuseReason::Cancelled;
            return Polled::Refused(Refusal::at_once(reason, 0, None));
        };
        if matches!(entry.state, State::Waiting) {
            if entry.deadline().is_none_or(|at| at > now) {
                if !entry.waker.as_ref().is_some_and(|w| w.will_wake(waker)) {
                    effects.discard(entry.waker.replace(waker.clone()));
                }
                return Polled::Pending;
            }
            self.leave(ticket.0.index);
        }
        self.collect(ticket, now, effects)
    }

    fn collect(&mut self, ticket: Ticket, now: Instant, effects: &mut Effects<E>) -> Polled<G, E> {
        let entry = self.entries.remove(ticket.0);
        let mut entry = entry.expect("the ticket was found just now");
        effects.discard(entry.waker.take());
        let timed_out = entry.refusal(now, RefuseReason::TimedOut, None);
        match entry.state {
            State::Waiting => Polled::Refused(timed_out),
            State::Refused(refusal) => Polled::Refused(refusal),
            State::Reserved(value, _) if entry.hard_deadline.is_some_and(|at| at <= now) => {
                Polled::TooLate(value, timed_out)
            }
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

    /// Takes a reservation back: the ticket waits again, at the head of the line, with what was
    /// left on its clock.
    pub(crate) fn revoke(&mut self, ticket: Ticket, now: Instant) {
        let Some(entry) = self.entries.get_mut(ticket.0) else {
            return;
        };
        entry.state = State::Waiting;
        self.start_clock(now, ticket.0.index);
        self.enter(now, ticket.0.index, true);
    }

    /// When a waiting ticket is to be polled if nothing wakes it before.
    pub(crate) fn deadline(&self, ticket: Ticket) -> Option<Instant> {
        let entry = self.entries.get(ticket.0)?;
        match entry.state {
            State::Waiting => entry.deadline(),
            _ => None,
        }
    }

    /// Forgets a ticket.
    pub(crate) fn cancel(&mut self, ticket: Ticket, effects: &mut Effects<E>) -> Cancelled<G> {
        let Some(entry) = self.entries.get(ticket.0) else {
            return Cancelled::Nothing;
        };
        if matches!(entry.state, State::Waiting) {
            self.leave(ticket.0.index);
        }
        let Some(mut entry) = self.entries.remove(ticket.0) else {
            return Cancelled::Nothing;
        };
        effects.discard(entry.waker.take());
        match entry.state {
            State::Waiting => Cancelled::Waiting,
            State::Reserved(value, _) => Cancelled::Reserved(value),
            State::Refused(refusal) => {
                effects.discard_error(refusal.error);
                Cancelled::Refused
            }
        }
    }
}
