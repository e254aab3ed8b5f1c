//! Who waits, in what order, until when, and who holds a reservation.

#[cfg(test)]
mod check;
mod cover;
mod entry;
mod lapse;
mod order;
mod patience;
mod tickets;
mod uses;

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::RefuseReason;

use crate::deadlines::Deadlines;
use crate::effects::Effects;
use crate::list::{Links, List};
use crate::outcome::{Demand, Ticket};
use crate::slab::{NONE, Slab};
#[cfg(test)]
pub(crate) use check::Peek;
pub(crate) use entry::{Cancelled, Polled, Wait, earlier};
use entry::{Clock, Entry, State};
pub use lapse::RESERVED_FOR;
pub use order::Discipline;
use patience::Patience;
use uses::Uses;

/// A queue of tickets, first in, first out but where callers leave in numbers (A13).
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
    /// The first `returned` of the line had their turn before, and stand in the order of their arrival;
    /// `last_returned` is the last of them.
    returned: usize,
    last_returned: u32,
    /// Those in the line that have yet to be polled before an open is started for them.
    unpolled: usize,
    discipline: Discipline,
    /// Those that wait need a lease that another has. Else they have a chance of their own, and are
    /// not refused as late before their limit.
    contended: bool,
    uses: Uses,
    patience: Patience,
    /// Grants made newest first.
    grants: u32,
    /// Those made and maybe collected since, the oldest first.
    reservations: VecDeque<(Instant, Ticket)>,
}

impl<G, E> Queue<G, E> {
    pub(crate) const fn new() -> Self {
        Self {
            entries: Slab::new(),
            line: List::new(),
            deadlines: Deadlines::new(),
            covered: 0,
            edge: NONE,
            returned: 0,
            last_returned: NONE,
            unpolled: 0,
            discipline: Discipline::Adaptive,
            contended: true,
            uses: Uses::new(),
            patience: Patience::new(),
            grants: 0,
            reservations: VecDeque::new(),
        }
    }

    /// Returns the number that are in the line.
    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.line.len()
    }

    /// Returns the number of those in the line for which an open may be started.
    #[inline]
    pub(crate) const fn asking(&self) -> usize {
        self.line.len() - self.unpolled
    }

    /// Returns the number of those that have an open of their own.
    #[inline]
    pub(crate) const fn covered(&self) -> usize {
        self.covered
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Returns the number of tickets that have not been collected or cancelled.
    pub(crate) const fn tickets(&self) -> usize {
        self.entries.len()
    }

    /// Returns the time since which the head of the line waits.
    pub(crate) fn head_since(&self) -> Option<Instant> {
        Some(self.entries.at(self.line.head()?).since)
    }

    /// Puts a ticket into the line: a retry among those at its head, all others at its end.
    pub(crate) fn push(&mut self, now: Instant, demand: &Demand, timeout: Duration) -> Ticket {
        let key = self.entries.insert(Entry {
            links: Links::new(),
            state: State::Waiting,
            waker: None,
            since: now,
            // Read before it enters the line, or it would count itself.
            ahead: self.len(),
            clock: Clock::Until(now.checked_add(timeout)),
            stood: Duration::ZERO,
            hard_deadline: demand.hard_deadline,
            ends_at: demand.ends_at,
            late_at: None,
            retry: demand.retry,
            arrived: demand.arrived.unwrap_or(now),
            unpolled: demand.opens_when_polled,
        });
        // Off `asking` from the start: an open for a caller that never polls would be a ghost
        // connect (A2).
        self.unpolled += usize::from(demand.opens_when_polled);
        if demand.retry {
            let ahead = self.enter_again(now, key.index);
            // It passes all but the retries that arrived before it: the others are not ahead of it.
            self.entries.at_mut(key.index).ahead = ahead;
        } else {
            self.line.push_back(&mut self.entries, key.index);
            self.set_deadline(now, key.index);
        }
        Ticket(key)
    }

    /// Puts one that had its turn before into the line, behind those of them that arrived before it; returns
    /// their number.
    fn enter_again(&mut self, now: Instant, index: u32) -> usize {
        let arrived = self.entries.at(index).arrived;
        let (mut before, mut ahead) = (self.last_returned, self.returned);
        // Nearly always none is passed: who arrives first asks again first.
        while before != NONE && self.entries.at(before).arrived > arrived {
            before = self.entries.at(before).links.prev();
            ahead -= 1;
        }
        if before == self.last_returned {
            self.last_returned = index;
        }
        self.returned += 1;
        self.line.insert_after(&mut self.entries, index, before);
        // The covered are a prefix of the line: whoever is before one of them is one of them.
        let next = self.entries.at(index).links.next();
        if next != NONE && self.entries.at(next).is_covered() {
            self.stop_clock(now, index);
            self.covered += 1;
        }
        // After the clock: the deadline is read off it.
        self.set_deadline(now, index);
        ahead
    }

    /// Keeps the deadline of one that waits, by what is known now; `true` if it has passed.
    fn set_deadline(&mut self, now: Instant, index: u32) -> bool {
        let late_at = self.late_at(now, index);
        let entry = self.entries.at_mut(index);
        // Stored first: the deadline is the earliest of this, the clock and the request's own
        // limit.
        entry.late_at = late_at;
        let deadline = entry.deadline();
        self.deadlines.set(index, deadline);
        deadline.is_some_and(|at| at <= now)
    }

    fn leave(&mut self, index: u32) {
        let entry = self.entries.at(index);
        // Read while it is linked: unlinking clears it.
        let before = entry.links.prev();
        // The covered stay a prefix of the line: without its last one the edge moves back.
        if entry.is_covered() {
            self.covered -= 1;
            if self.edge == index {
                self.edge = before;
            }
        }
        self.unpolled -= usize::from(entry.unpolled);
        if entry.retry {
            self.returned -= 1;
            if self.last_returned == index {
                self.last_returned = before;
            }
        }
        // A clock that stands still is not started: the wait is read off it later, and the part of
        // that which was a dial's.
        self.line.unlink(&mut self.entries, index);
        // Or `expire` would refuse a ticket that has its answer.
        self.deadlines.set(index, None);
    }

    /// Reserves what `value` makes for the next in the order. Those met on the way whose request is
    /// over, or would be before it was served, are refused instead. `false` if none is left; then
    /// `value` was not called.
    pub(crate) fn reserve(
        &mut self,
        now: Instant,
        value: impl FnOnce() -> G,
        effects: &mut Effects<E>,
    ) -> bool {
        let Some(index) = self.next(now, effects) else {
            return false;
        };
        // Out of the line before the lease is made: one ticket, one lease (A5).
        self.leave(index);
        let entry = self.entries.at_mut(index);
        // Measured here: the time that the task takes to wake is not the queue's.
        let waited = entry.wait(now);
        // Its task is woken after the unlock, and once: a waker that stayed would wake it again for nothing.
        entry.state = State::Reserved(value(), waited);
        effects.wake(entry.waker.take());
        // So that it lapses: a task that is never polled would keep the lease for good.
        self.note_reserved(now, index);
        true
    }

    /// The head of the line, after refusing those whose request is over.
    fn live_head(&mut self, now: Instant, effects: &mut Effects<E>) -> Option<u32> {
        loop {
            // A lease or an error that goes to a request which is over is lost to the next one.
            let index = self.line.head()?;
            if !self.entries.at(index).is_over(now) {
                return Some(index);
            }
            self.refuse(now, index, RefuseReason::QueueTimeout, None, effects);
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
        let late = self.late(now, index);
        let entry = self.entries.at_mut(index);
        entry.state = State::Refused(entry.refusal(now, reason, late, error));
        effects.wake(entry.waker.take());
    }

    /// Refuses all whose deadline has passed.
    pub(crate) fn expire(&mut self, now: Instant, effects: &mut Effects<E>) {
        // The nearest first: the loop ends at the first with time left, at O(log n) for each that
        // is refused (A6).
        while let Some((at, index)) = self.deadlines.first() {
            if at > now {
                break;
            }
            // The estimate of what would be late may have changed.
            if !self.set_deadline(now, index) {
                continue;
            }
            self.refuse(now, index, RefuseReason::QueueTimeout, None, effects);
        }
    }

    /// Refuses the head of the line because of `error`, which comes back without waiters.
    pub(crate) fn fail_head(
        &mut self,
        now: Instant,
        error: E,
        effects: &mut Effects<E>,
    ) -> Option<E> {
        // A head whose time is up is refused for that, and the failure goes to the next: it fails
        // one (A7).
        let Some(index) = self.live_head(now, effects) else {
            return Some(error);
        };
        let reason = RefuseReason::Connect;
        self.refuse(now, index, reason, Some(error), effects);
        None
    }

    /// Wakes the head of the line, which goes on waiting.
    pub(crate) fn wake_head(&mut self, effects: &mut Effects<E>) {
        if let Some(index) = self.line.head() {
            // The next poll stores its waker anew.
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
        // By way of `live_head`: one that is over is refused for that.
        while let Some(index) = self.live_head(now, effects) {
            self.refuse(now, index, reason, error(), effects);
        }
    }
}
