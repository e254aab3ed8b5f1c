//! The demand of a request, and its outcome.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::RefuseReason;

/// A request for one lease.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Demand {
    /// The time at which the request itself is over. From then on it is neither granted anything
    /// nor dialled for. Unlike the acquire timeout this never stands still. Default: none.
    pub hard_deadline: Option<Instant>,
    /// The time at which the whole exchange must have ended, as far as is known. A request that
    /// waits is refused as soon as this is nearer than a typical use and a margin: it would be sent, and
    /// cancelled before its answer came. Default: not known.
    pub ends_at: Option<Instant>,
    /// It already had its turn and lost its connection: if it must wait, it waits at the head of
    /// the queue, behind others of which that is true and which arrived before it, and `max_waiting`
    /// does not count against it. Default: no.
    pub retry: bool,
    /// The arrival of a [retry](Self::retry), by which it stands among the others. Default: now.
    pub arrived: Option<Instant>,
    /// No open is started for it before its ticket is polled: a caller that goes away before would leave
    /// a ghost connect. Default: no.
    pub opens_when_polled: bool,
}

impl Demand {
    /// A request without a deadline of its own, for the first time.
    pub const fn new() -> Self {
        Self {
            hard_deadline: None,
            ends_at: None,
            retry: false,
            arrived: None,
            opens_when_polled: false,
        }
    }

    /// Sets [`Demand::hard_deadline`].
    #[must_use]
    pub const fn hard_deadline(mut self, at: Option<Instant>) -> Self {
        self.hard_deadline = at;
        self
    }

    /// Sets [`Demand::ends_at`].
    #[must_use]
    pub const fn ends_at(mut self, at: Option<Instant>) -> Self {
        self.ends_at = at;
        self
    }

    /// Sets [`Demand::retry`].
    #[must_use]
    pub const fn retry(mut self, retry: bool) -> Self {
        self.retry = retry;
        self
    }

    /// Sets [`Demand::arrived`].
    #[must_use]
    pub const fn arrived(mut self, at: Option<Instant>) -> Self {
        self.arrived = at;
        self
    }

    /// Sets [`Demand::opens_when_polled`].
    #[must_use]
    pub const fn opens_when_polled(mut self, when_polled: bool) -> Self {
        self.opens_when_polled = when_polled;
        self
    }

    pub(crate) fn is_over(&self, now: Instant) -> bool {
        let passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        passed(self.hard_deadline) || passed(self.ends_at)
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

/// The wait of a request that left the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Departure {
    /// `Abandoned` if it had waited for capacity, a millisecond or more, else `Cancelled`.
    pub reason: RefuseReason,
    /// The time that it waited.
    pub waited: Duration,
    /// The part of it in which an open of its own was in progress.
    pub opening: Duration,
}

/// Why a request got no lease.
///
/// For `OpenFailed` and `BackingOff` the [`source`](Error::source) is the error of the open.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal<E> {
    /// The reason.
    pub reason: RefuseReason,
    /// The time that it waited.
    pub waited: Duration,
    /// The part of it in which an open of its own was in progress.
    pub opening: Duration,
    /// The number that were before it when it came.
    pub ahead: usize,
    /// True if it timed out because the request's own deadline has passed.
    pub overdue: bool,
    /// Why it was refused before its limit: too little of that was left to be served.
    pub late: Option<Late>,
    /// The failure of the open, for `OpenFailed` and `BackingOff`.
    pub error: Option<E>,
}

/// The time that a request had left, and the time that it would have needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Late {
    /// The time that was left of its limit.
    pub left: Duration,
    /// The time that three in four exchanges with this origin take no longer than.
    pub typical: Duration,
}

/// A timer's step, by which a limit and an answer that is just in time may pass each other.
const TICK: Duration = Duration::from_millis(1);

impl Late {
    /// Returns the time that it would have needed: that of a typical exchange, an eighth more for the way
    /// there and back, and a millisecond.
    ///
    /// Under overload the requests whose turn comes have no more left than is asked for, so the
    /// margin is what they live of.
    pub fn needed(&self) -> Duration {
        Self::time_for(self.typical)
    }

    /// The time that a request has to have left for an exchange of this length.
    pub(crate) fn time_for(exchange: Duration) -> Duration {
        exchange.saturating_add(exchange / 8).saturating_add(TICK)
    }
}

impl Departure {
    pub(crate) const NONE: Self = Self {
        reason: RefuseReason::Cancelled,
        waited: Duration::ZERO,
        opening: Duration::ZERO,
    };
}

impl<E> Refusal<E> {
    pub(crate) const fn late_at_once(late: Late, ahead: usize) -> Self {
        Self {
            reason: RefuseReason::QueueTimeout,
            waited: Duration::ZERO,
            opening: Duration::ZERO,
            ahead,
            overdue: false,
            late: Some(late),
            error: None,
        }
    }

    pub(crate) const fn at_once(reason: RefuseReason, ahead: usize, error: Option<E>) -> Self {
        Self {
            reason,
            waited: Duration::ZERO,
            opening: Duration::ZERO,
            ahead,
            // Nothing else can have timed out without a wait.
            overdue: matches!(reason, RefuseReason::QueueTimeout),
            late: None,
            error,
        }
    }
}

impl<E> fmt::Display for Refusal<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { waited, ahead, .. } = self;
        match self.reason {
            RefuseReason::QueueFull => write!(f, "the queue is full: {ahead} are waiting"),
            RefuseReason::QueueTimeout => match self.late {
                Some(Late { left, typical }) => write!(
                    f,
                    "would be late: {left:?} left after {waited:?}, an exchange takes {typical:?}"
                ),
                None => write!(f, "no lease within {waited:?}, {ahead} were ahead"),
            },
            RefuseReason::Connect => f.write_str("the connection could not be opened"),
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
