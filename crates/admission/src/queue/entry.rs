//! One ticket's place in the queue.

use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::RefuseReason;

use crate::list::{Linked, Links};
use crate::outcome::{Departure, Late, Refusal};

#[derive(Debug)]
pub(super) struct Entry<G, E> {
    pub(super) links: Links,
    pub(super) state: State<G, E>,
    pub(super) waker: Option<Waker>,
    pub(super) since: Instant,
    pub(super) ahead: usize,
    pub(super) clock: Clock,
    /// The time that the clock stood still before it ran last.
    pub(super) stood: Duration,
    pub(super) hard_deadline: Option<Instant>,
    /// The time at which the whole exchange must have ended.
    pub(super) ends_at: Option<Instant>,
    /// From when on a grant would be too late for that, by the last estimate.
    pub(super) late_at: Option<Instant>,
    /// It had its turn before: it is one of those at the head of the line.
    pub(super) retry: bool,
    /// By which it stands among those.
    pub(super) arrived: Instant,
    /// No open is started for it before it is polled.
    pub(super) unpolled: bool,
}

#[derive(Debug)]
pub(super) enum State<G, E> {
    Waiting,
    Reserved(G, Wait),
    /// It was reserved for too long, and waits out of the line until it is polled.
    Lapsed,
    Refused(Refusal<E>),
}

/// The time a ticket may still wait for others' leases.
#[derive(Clone, Copy, Debug)]
pub(super) enum Clock {
    Until(Option<Instant>),
    /// It has stood still since then, with so much left.
    Still(Option<Duration>, Instant),
}

/// The time from a demand to its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    pub(crate) total: Duration,
    /// The part of it in which an open of its own was in progress.
    pub(crate) opening: Duration,
}

/// The result of a poll.
pub(crate) enum Polled<G, E> {
    Pending,
    Granted(G, Wait, usize),
    /// It was granted, but the request is over: the value goes to somebody else.
    TooLate(G, Refusal<E>),
    Refused(Refusal<E>),
}

/// The remains of a cancelled ticket.
pub(crate) enum Cancelled<G> {
    Nothing,
    Waiting,
    Reserved(G),
    Refused,
}

impl Wait {
    pub(crate) const NONE: Self = Self {
        total: Duration::ZERO,
        opening: Duration::ZERO,
    };
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
    pub(super) fn deadline(&self) -> Option<Instant> {
        let clock = match self.clock {
            Clock::Until(at) => at,
            // With an open of its own only the request's own limits end it: the open has a deadline
            // of its own (A7).
            Clock::Still(..) => None,
        };
        // The request's `ends_at` is in it by way of `late_at`, which is never later.
        earlier(earlier(clock, self.hard_deadline), self.late_at)
    }

    pub(super) fn is_covered(&self) -> bool {
        matches!(self.clock, Clock::Still(..))
    }

    /// The wait until now; `opening` is the time that the clock stood still.
    pub(super) fn wait(&self, now: Instant) -> Wait {
        let total = now.saturating_duration_since(self.since);
        // While it stands, this time is not in `stood` yet: `start_clock` adds it.
        let still = match self.clock {
            Clock::Until(_) => Duration::ZERO,
            Clock::Still(_, since) => now.saturating_duration_since(since),
        };
        let opening = self.stood.saturating_add(still).min(total);
        Wait { total, opening }
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        // Not by the acquire timeout: a lease that comes before that is noticed is granted.
        earlier(self.hard_deadline, self.ends_at).is_some_and(|at| at <= now)
    }

    pub(super) fn departure(&self, now: Instant) -> Departure {
        let Wait { total, opening } = self.wait(now);
        Departure {
            waited: total,
            opening,
            ..Departure::NONE
        }
    }

    pub(super) fn refusal(
        &self,
        now: Instant,
        reason: RefuseReason,
        late: Option<Late>,
        error: Option<E>,
    ) -> Refusal<E> {
        let timed_out = matches!(reason, RefuseReason::QueueTimeout);
        let overdue = timed_out && self.is_over(now);
        let Wait { total, opening } = self.wait(now);
        Refusal {
            reason,
            waited: total,
            opening,
            ahead: self.ahead,
            overdue,
            // Once its time is up that is the reason, and no longer that too little of it was left.
            late: late.filter(|_| timed_out && !overdue),
            error,
        }
    }
}

/// The earlier of two, where `None` is never.
#[inline]
pub(crate) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
