//! Who waits, in what order, until when, and who holds a reservation.

use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::RefuseReason;

use crate::deadlines::Deadlines;
use crate::effects::Effects;
use crate::list::{Linked, Links, List};
use crate::outcome::{Demand, Refusal, Ticket};
use crate::slab::{NONE, Slab};

/// A first-in-first-out queue of tickets.
///
/// A ticket is waiting (in the line), then reserved or refused (out of the line, its caller woken),
/// then collected; or it is cancelled in any of these states. Each step is `O(1)` but for the
/// deadline's place in its heap, `O(log n)`.
#[derive(Debug)]
pub(crate) struct Queue<G, E> {
    entries: Slab<Entry<G, E>>,
    line: List,
    deadlines: Deadlines,
    /// The first `covered` of the line have an open of their own, so their clocks stand still
    /// (A7); `edge` is the last of them.
    covered: usize,
    edge: u32,
}

#[derive(Debug)]
struct Entry<G, E> {
    links: Links,
    state: State<G, E>,
    waker: Option<Waker>,
    since: Instant,
    ahead: usize,
    clock: Clock,
    hard_deadline: Option<Instant>,
}

#[derive(Debug)]
enum State<G, E> {
    Waiting,
    Reserved(G, Duration),
    Refused(Refusal<E>),
}

/// The time a ticket may still wait for others' leases.
#[derive(Clone, Copy, Debug)]
enum Clock {
    Until(Option<Instant>),
    Still(Option<Duration>),
}

/// What a poll found.
pub(crate) enum Polled<G, E> {
    Pending,
    Granted(G, Duration, usize),
    /// It was granted, but the request is over: the value goes to somebody else.
    TooLate(G, Refusal<E>),
    Refused(Refusal<E>),
}

/// What a cancelled ticket leaves behind.
pub(crate) enum Cancelled<G> {
    Nothing,
    Waiting,
    Reserved(G),
    Refused,
}

impl<G, E> Linked for Entry<G, E> {
    fn links(&self) -> Links {
        self.links
    }

    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

impl<G, E> Entry<G, E> {
    fn deadline(&self) -> Option<Instant> {
        let clock = match self.clock {
            Clock::Until(at) => at,
            Clock::Still(_) => None,
        };
        earlier(clock, self.hard_deadline)
    }

    fn is_covered(&self) -> bool {
        matches!(self.clock, Clock::Still(_))
    }

    fn is_over(&self, now: Instant) -> bool {
        self.hard_deadline.is_some_and(|at| at <= now)
    }

    fn refusal(&self, now: Instant, reason: RefuseReason, error: Option<E>) -> Refusal<E> {
        Refusal {
            reason,
            waited: now.saturating_duration_since(self.since),
            ahead: self.ahead,
            error,
        }
    }
}

/// The earlier of two, where `None` is never.
pub(crate) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

impl<G, E> Queue<G, E> {
    pub(crate) const fn new() -> Self {
        Self {
            entries: Slab::new(),
            line: List::new(),
            deadlines: Deadlines::new(),
            covered: 0,
            edge: NONE,
        }
    }

    /// How many are in the line.
    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.line.len()
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// How many tickets have not been collected or cancelled.
    pub(crate) const fn tickets(&self) -> usize {
        self.entries.len()
    }

    /// Since when the head of the line waits.
    pub(crate) fn head_since(&self) -> Option<Instant> {
        Some(self.entries.at(self.line.head()?).since)
    }

    /// Puts a ticket into the line: a retry at its head, all others at its end.
    pub(crate) fn push(&mut self, now: Instant, demand: &Demand, timeout: Duration) -> Ticket {
        let key = self.entries.insert(Entry {
            links: Links::new(),
            state: State::Waiting,
            waker: None,
            since: now,
            ahead: if demand.retry { 0 } else { self.len() },
            clock: Clock::Until(now.checked_add(timeout)),
            hard_deadline: demand.hard_deadline,
        });
        self.enter(now, key.index, demand.retry);
        Ticket(key)
    }

    fn enter(&mut self, now: Instant, index: u32, front: bool) {
        if front {
            self.line.push_front(&mut self.entries, index);
            // The covered are a prefix of the line: whoever is before them is one of them.
            if self.covered > 0 {
                self.stop_clock(now, index);
                self.covered += 1;
            }
        } else {
            self.line.push_back(&mut self.entries, index);
        }
        self.deadlines.set(index, self.entries.at(index).deadline());
    }

    fn leave(&mut self, index: u32) {
        let entry = self.entries.at(index);
        if entry.is_covered() {
            self.covered -= 1;
            if self.edge == index {
                self.edge = entry.links.prev();
            }
        }
        self.line.unlink(&mut self.entries, index);
        self.deadlines.set(index, None);
    }

    /// Reserves what `value` makes for the head of the line. Those met on the way whose request is
    /// over are refused instead. `false` if nobody is left; then `value` was not called.
    pub(crate) fn reserve(
        &mut self,
        now: Instant,
        value: impl FnOnce() -> G,
        effects: &mut Effects<E>,
    ) -> bool {
        let Some(index) = self.live_head(now, effects) else {
            return false;
        };
        self.leave(index);
        let entry = self.entries.at_mut(index);
        let waited = now.saturating_duration_since(entry.since);
        entry.state = State::Reserved(value(), waited);
        effects.wake(entry.waker.take());
        true
    }

    /// The head of the line, after refusing those whose request is over.
    fn live_head(&mut self, now: Instant, effects: &mut Effects<E>) -> Option<u32> {
        loop {
            let index = self.line.head()?;
            if !self.entries.at(index).is_over(now) {
                return Some(index);
            }
            self.refuse(now, index, RefuseReason::TimedOut, None, effects);
        }
    }

    fn refuse(
        &mut self,
        now: Instant,
        index: u32,
        reason: RefuseReason,
        error: Option<E>,
        effects: &mut Effects<E>,
    ) {
        self.leave(index);
        let entry = self.entries.at_mut(index);
        entry.state = State::Refused(entry.refusal(now, reason, error));
        effects.wake(entry.waker.take());
    }

    /// Refuses all whose deadline has passed.
    pub(crate) fn expire(&mut self, now: Instant, effects: &mut Effects<E>) {
        while let Some((at, index)) = self.deadlines.first() {
            if at > now {
                break;
            }
            self.refuse(now, index, RefuseReason::TimedOut, None, effects);
        }
    }

    /// Refuses the head of the line because of `error`, which comes back if nobody waits.
    pub(crate) fn fail_head(
        &mut self,
        now: Instant,
        error: E,
        effects: &mut Effects<E>,
    ) -> Option<E> {
        let Some(index) = self.live_head(now, effects) else {
            return Some(error);
        };
        let reason = RefuseReason::OpenFailed;
        self.refuse(now, index, reason, Some(error), effects);
        None
    }

    /// Wakes the head of the line, which goes on waiting.
    pub(crate) fn wake_head(&mut self, effects: &mut Effects<E>) {
        if let Some(index) = self.line.head() {
            effects.wake(self.entries.at_mut(index).waker.take());
        }
    }

    /// Refuses everybody in the line.
    pub(crate) fn refuse_all(
        &mut self,
        now: Instant,
        reason: RefuseReason,
        mut error: impl FnMut() -> Option<E>,
        effects: &mut Effects<E>,
    ) {
        while let Some(index) = self.live_head(now, effects) {
            self.refuse(now, index, reason, error(), effects);
        }
    }

    /// Makes the first `target` of the line the covered ones: their clocks stand still. One whose
    /// clock runs again is woken, to set its timer.
    pub(crate) fn cover(&mut self, now: Instant, target: usize, effects: &mut Effects<E>) {
        let target = target.min(self.len());
        while self.covered < target {
            let next = match self.edge {
                NONE => self.line.head().unwrap_or(NONE),
                edge => self.entries.at(edge).links.next(),
            };
            self.stop_clock(now, next);
            self.edge = next;
            self.covered += 1;
        }
        while self.covered > target {
            let last = self.edge;
            self.edge = self.entries.at(last).links.prev();
            self.covered -= 1;
            self.start_clock(now, last);
            effects.wake(self.entries.at_mut(last).waker.take());
        }
    }

    fn stop_clock(&mut self, now: Instant, index: u32) {
        let entry = self.entries.at_mut(index);
        if let Clock::Until(at) = entry.clock {
            entry.clock = Clock::Still(at.map(|at| at.saturating_duration_since(now)));
        }
        self.deadlines.set(index, entry.deadline());
    }

    fn start_clock(&mut self, now: Instant, index: u32) {
        let entry = self.entries.at_mut(index);
        if let Clock::Still(left) = entry.clock {
            entry.clock = Clock::Until(left.and_then(|left| now.checked_add(left)));
        }
        self.deadlines.set(index, entry.deadline());
    }

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
