//! One ticket's place in the queue.

use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::RefuseReason;

use crate::list::{Linked, Links};
use crate::outcome::Refusal;

#[derive(Debug)]
pub(super) struct Entry<G, E> {
    pub(super) links: Links,
    pub(super) state: State<G, E>,
    pub(super) waker: Option<Waker>,
    pub(super) since: Instant,
    pub(super) ahead: usize,
    pub(super) clock: Clock,
    pub(super) hard_deadline: Option<Instant>,
}

#[derive(Debug)]
pub(super) enum State<G, E> {
    Waiting,
    Reserved(G, Duration),
    Refused(Refusal<E>),
}

/// The time a ticket may still wait for others' leases.
#[derive(Clone, Copy, Debug)]
pub(super) enum Clock {
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
    pub(super) fn deadline(&self) -> Option<Instant> {
        let clock = match self.clock {
            Clock::Until(at) => at,
            Clock::Still(_) => None,
        };
        earlier(clock, self.hard_deadline)
    }

    pub(super) fn is_covered(&self) -> bool {
        matches!(self.clock, Clock::Still(_))
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.hard_deadline.is_some_and(|at| at <= now)
    }

    pub(super) fn refusal(
        &self,
        now: Instant,
        reason: RefuseReason,
        error: Option<E>,
    ) -> Refusal<E> {
        Refusal {
            reason,
            waited: now.saturating_duration_since(self.since),
            ahead: self.ahead,
            overdue: matches!(reason, RefuseReason::TimedOut) && self.is_over(now),
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
