//! What a request asks for, and what it is told.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::RefuseReason;

/// A request for one lease.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Demand {
    /// When the request itself is over. From then on it is neither granted anything nor dialled
    /// for. Unlike the acquire timeout this never stands still. Default: none.
    pub hard_deadline: Option<Instant>,
    /// It already had its turn and lost its connection: if it must wait, it waits at the head of
    /// the queue, and `max_waiting` does not count against it. Default: no.
    pub retry: bool,
}

impl Demand {
    /// A request without a deadline of its own, for the first time.
    pub const fn new() -> Self {
        Self {
            hard_deadline: None,
            retry: false,
        }
    }

    /// Sets [`Demand::hard_deadline`].
    #[must_use]
    pub const fn hard_deadline(mut self, at: Option<Instant>) -> Self {
        self.hard_deadline = at;
        self
    }

    /// Sets [`Demand::retry`].
    #[must_use]
    pub const fn retry(mut self, retry: bool) -> Self {
        self.retry = retry;
        self
    }

    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.hard_deadline.is_some_and(|at| at <= now)
    }
}

/// The immediate answer to a [`Demand`].
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "callers must handle each answer")]
pub enum Admission<G, E> {
    /// Here it is.
    Granted(G),
    /// It waits. The ticket must be polled to its end or cancelled.
    Queued(Ticket),
    /// Not now, and waiting would not help.
    Refused(Refusal<E>),
}

/// A place in the queue.
///
/// It is only a number: whoever holds it calls `cancel` when the request goes away. After the
/// answer was collected or the ticket cancelled it means nothing, and stays harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub(crate) crate::slab::Key);

/// Why a request got no lease.
///
/// For `OpenFailed` and `BackingOff` the [`source`](Error::source) is the error of the open.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal<E> {
    /// What happened.
    pub reason: RefuseReason,
    /// How long it waited.
    pub waited: Duration,
    /// How many were before it when it came.
    pub ahead: usize,
    /// Whether it timed out because the request's own deadline has passed.
    pub overdue: bool,
    /// What went wrong with the open, for `OpenFailed` and `BackingOff`.
    pub error: Option<E>,
}

impl<E> Refusal<E> {
    pub(crate) const fn at_once(reason: RefuseReason, ahead: usize, error: Option<E>) -> Self {
        Self {
            reason,
            waited: Duration::ZERO,
            ahead,
            // Nothing else can have timed out without a wait.
            overdue: matches!(reason, RefuseReason::TimedOut),
            error,
        }
    }
}

impl<E> fmt::Display for Refusal<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { waited, ahead, .. } = self;
        match self.reason {
            RefuseReason::Full => write!(f, "the queue is full: {ahead} are waiting"),
            RefuseReason::TimedOut => {
                write!(f, "no lease within {waited:?}, {ahead} were ahead")
            }
            RefuseReason::OpenFailed => f.write_str("the connection could not be opened"),
            RefuseReason::BackingOff => f.write_str("backing off after failed connects"),
            RefuseReason::Closed => f.write_str("draining or closed"),
            RefuseReason::ClosedBeforeSent => {
                f.write_str("each connection closed before it could be used")
            }
            RefuseReason::NoRuntime => f.write_str("outside a runtime"),
            reason => f.write_str(reason.label()),
        }
    }
}

impl<E: Error + 'static> Error for Refusal<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.as_ref().map(|error| error as _)
    }
}
