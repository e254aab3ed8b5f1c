//! Which of those that wait is next (A4, A13).

use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::{QueueOrder, RefuseReason};

use crate::effects::Effects;
use crate::list::Links;
use crate::outcome::Late;
use crate::queue::Queue;
use crate::slab::NONE;

/// From one place in the line to the next.
type Step = fn(Links) -> u32;

/// Of the grants made newest first, one in so many goes to the oldest that can still be served.
const SHARE_OF_OLDEST: u32 = 4;
/// The number of tickets looked at from each end of the line for one that stays: the price of a
/// grant has a limit, and a line is as long as callers are many.
const LOOKED_AT: usize = 16;

/// The order of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there are only these two")]
pub enum Discipline {
    /// First in, first out, until callers leave in numbers: then newest first, but for one grant in
    /// four, which goes to the oldest that can still be served (adaptive LIFO).
    #[default]
    Adaptive,
    /// First in, first out, whatever happens.
    Fifo,
}

impl<G, E> Queue<G, E> {
    /// Sets the discipline. First in, first out forgets what was learnt.
    pub(crate) fn set_discipline(&mut self, discipline: Discipline) {
        self.discipline = discipline;
        // What was learnt would rule the next grant, whatever the discipline.
        if discipline == Discipline::Fifo {
            self.patience = super::Patience::new();
        }
    }

    /// Sets whether those that wait need a lease that another has.
    pub(crate) const fn contend(&mut self, contended: bool) {
        self.contended = contended;
    }

    /// The order that what was learnt asks for, whether anything waits or not.
    #[inline]
    pub(crate) const fn learnt_order(&self) -> QueueOrder {
        self.patience.order()
    }

    /// The order in force. An empty queue has none, and counts as first in, first out.
    pub(crate) const fn order(&self) -> QueueOrder {
        if self.is_empty() {
            QueueOrder::Fifo
        } else {
            self.patience.order()
        }
    }

    /// Times the order turned to newest first.
    pub(crate) const fn turns(&self) -> u64 {
        self.patience.turns()
    }

    /// An exchange has ended `held` after its grant.
    #[inline]
    pub(crate) fn used(&mut self, now: Instant, held: Duration) {
        self.uses.learn(now, held);
    }

    /// Callers that leave in numbers have been seen lately.
    pub(crate) fn is_pressed(&mut self, now: Instant) -> bool {
        // By the clock and not only by ticks, which an owner may owe: an order must not outlive its
        // cause.
        self.patience.calm_down(now);
        self.patience.order() == QueueOrder::Newest
    }

    /// The time within which nine in ten exchanges end.
    pub(crate) fn long_use(&self, now: Instant) -> Option<Duration> {
        self.uses.long(now)
    }

    /// The caller of a request in flight went away.
    pub(crate) fn left_in_flight(&mut self, now: Instant, waited: Duration, held: Duration) {
        if self.discipline == Discipline::Adaptive {
            let typical = self.uses.typical(now);
            self.patience.left_in_flight(now, waited, held, typical);
        }
    }

    /// The caller of a request that waited for a lease went away.
    pub(super) fn left_queue(&mut self, now: Instant, since: Instant) {
        if self.discipline == Discipline::Adaptive {
            let age = now.saturating_duration_since(since);
            self.patience.left_queue(now, age, self.uses.typical(now));
        }
    }

    /// Forgets what was learnt about callers if none has left for a while.
    pub(crate) fn calm_down(&mut self, now: Instant) {
        self.patience.calm_down(now);
    }

    /// Returns the time at which what was learnt about callers is forgotten.
    pub(crate) fn calm_at(&self) -> Option<Instant> {
        self.patience.calm_at()
    }

    /// The next to serve, after refusing those met on the way that cannot be served any more.
    pub(super) fn next(&mut self, now: Instant, effects: &mut Effects<E>) -> Option<u32> {
        let newest = self.is_pressed(now);
        loop {
            let head = self.line.head()?;
            let index = if newest { self.newest(now, head) } else { head };
            // Refused and not passed over: in the line it would be met again by each grant, and
            // with a lease it would be cut in the middle of its exchange.
            if self.entries.at(index).is_over(now) || self.late(now, index).is_some() {
                self.refuse(now, index, RefuseReason::QueueTimeout, None, effects);
            } else {
                return Some(index);
            }
        }
    }

    /// The next in the order of newest first, one grant in four the other way round. Those whose
    /// callers are about to leave are passed over. A retry had its turn before, and has it again.
    fn newest(&mut self, now: Instant, head: u32) -> u32 {
        if self.entries.at(head).retry {
            return head;
        }
        // After the retries: the oldest have their share of the grants that would pass them by.
        self.grants = self.grants.wrapping_add(1);
        let newest = self.line.tail().unwrap_or(head);
        let long = Late::time_for(self.uses.long(now).unwrap_or_default());
        let mut ends = [(newest, Links::prev as Step), (head, Links::next)];
        if self.grants.is_multiple_of(SHARE_OF_OLDEST) {
            ends.reverse();
        }
        let mut ends = ends.into_iter();
        ends.find_map(|(from, step)| self.first_that_stays(now, long, from, step))
            // None of those that were looked at stays: one is served all the same, or the lease
            // would idle beside them.
            .unwrap_or(newest)
    }

    /// The first from one end of the line whose caller is still there when its exchange ends, as far
    /// as can be known.
    fn first_that_stays(&self, now: Instant, long: Duration, from: u32, step: Step) -> Option<u32> {
        let mut at = from;
        for _ in 0..LOOKED_AT {
            if at == NONE {
                return None;
            }
            let entry = self.entries.at(at);
            let age = now.saturating_duration_since(entry.since);
            let leaves = entry.ends_at.map_or_else(
                || self.patience.leaves_within(age, long),
                |end| end.saturating_duration_since(now) < long,
            );
            if !leaves {
                return Some(at);
            }
            at = step(entry.links);
        }
        None
    }

    /// By how much a request would be late if it were served now: its limit is nearer than a
    /// typical use.
    pub(super) fn late(&self, now: Instant, index: u32) -> Option<Late> {
        self.would_be_late(now, self.entries.at(index).ends_at)
    }

    /// By how much a request with this limit would be late if it were served now.
    pub(crate) fn would_be_late(&self, now: Instant, ends_at: Option<Instant>) -> Option<Late> {
        let left = ends_at?.saturating_duration_since(now);
        // Without a use that was seen none is late: what is not known refuses no request (A13).
        let typical = self.uses.typical(now)?;
        let late = Late { left, typical };
        (left < late.needed()).then_some(late)
    }

    /// From when on it would be late. One with an open of its own does not wait for others, so it
    /// keeps its chance to the end.
    pub(super) fn late_at(&self, now: Instant, index: u32) -> Option<Instant> {
        let entry = self.entries.at(index);
        let ends_at = entry.ends_at?;
        if entry.is_covered() || !self.contended {
            return Some(ends_at);
        }
        let Some(typical) = self.uses.typical(now) else {
            return Some(ends_at);
        };
        // The first instant that is nearer than a typical use.
        let after = ends_at + Duration::from_nanos(1);
        let late_at = after.checked_sub(Late::time_for(typical));
        Some(late_at.unwrap_or(now).min(ends_at))
    }
}
