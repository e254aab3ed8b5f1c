//! Who waits, in what order, until when, and who holds a reservation.

#[cfg(test)]
mod check;
mod cover;
mod entry;
mod tickets;

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
pub(crate) use entry::{Cancelled, Polled, earlier};
use entry::{Clock, Entry, State};

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
}
