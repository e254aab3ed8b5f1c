//! The errors.

use std::convert::Infallible;
use std::error::Error;
use std::num::NonZeroUsize;
use std::time::Duration;
use std::{fmt, io};

use tollgate_admission::{Late, Refusal};
use tollgate_core::{Origin, RefuseReason};

/// A request got no place, of the kind that [`kind`](Self::kind) has. Nothing was sent.
///
/// The source of a [`QueueTimeout`](PoolLimitErrorKind::QueueTimeout) is an [`io::Error`] of kind
/// [`TimedOut`](io::ErrorKind::TimedOut).
#[derive(Debug)]
pub struct PoolLimitError {
    kind: PoolLimitErrorKind,
    origin: Option<Origin>,
    limit: usize,
    ahead: usize,
    waited: Duration,
    late: Option<Late>,
    /// The end of the chain of sources, for classifiers that look for the kind.
    timed_out: Option<io::Error>,
}

/// The kind of a [`PoolLimitError`], by the names of the keep-alive pool's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PoolLimitErrorKind {
    /// The limit was reached and as many requests were waiting as may.
    QueueFull,
    /// No place fell free within the acquire timeout, or in time for the request to be served within
    /// its own limit.
    QueueTimeout,
    /// The limit was closed through its handle.
    Closed,
}

impl PoolLimitError {
    pub(crate) fn new(refusal: &Refusal<Infallible>, origin: Option<Origin>, limit: usize) -> Self {
        let kind = match refusal.reason {
            RefuseReason::QueueFull => PoolLimitErrorKind::QueueFull,
            RefuseReason::QueueTimeout => PoolLimitErrorKind::QueueTimeout,
            _ => PoolLimitErrorKind::Closed,
        };
        let timed_out = kind == PoolLimitErrorKind::QueueTimeout;
        Self {
            kind,
            origin,
            limit,
            ahead: refusal.ahead,
            waited: refusal.waited,
            late: refusal.late,
            timed_out: timed_out.then(|| io::ErrorKind::TimedOut.into()),
        }
    }

    /// Returns the kind.
    pub const fn kind(&self) -> PoolLimitErrorKind {
        self.kind
    }

    /// Returns the request's origin, if it has one.
    pub const fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// Returns the number of requests that may be in flight.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Returns the number that were waiting before it when it came.
    pub const fn ahead(&self) -> usize {
        self.ahead
    }

    /// Returns the time that it waited.
    pub const fn waited(&self) -> Duration {
        self.waited
    }

    /// The time left and the time needed, if the request was refused before its limit because it
    /// would have been late.
    pub const fn would_be_late(&self) -> Option<Late> {
        self.late
    }
}

impl fmt::Display for PoolLimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            limit,
            ahead,
            waited,
            ..
        } = self;
        let to = To(self.origin.as_ref());
        match (self.kind, self.late) {
            (PoolLimitErrorKind::QueueFull, _) => write!(
                f,
                "{limit} are in flight{to} and {ahead} wait, which is as many as may; shed load, raise \
                 the limit or raise max_waiting"
            ),
            (PoolLimitErrorKind::QueueTimeout, Some(Late { left, typical, .. })) => write!(
                f,
                "would be late{to}: {left:?} of its limit left after waiting {waited:?}, and an \
                 exchange takes {typical:?}; shed load, raise the limit or allow more time"
            ),
            (PoolLimitErrorKind::QueueTimeout, None) => write!(
                f,
                "waited {waited:?} for one of {limit} places{to}, with {ahead} ahead; the peer is slow, \
                 bodies are held open, or the limit is too low"
            ),
            (PoolLimitErrorKind::Closed, _) => {
                write!(f, "no new requests{to}: the limit was closed for shutdown")
            }
        }
    }
}

impl Error for PoolLimitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.timed_out.as_ref().map(|error| error as _)
    }
}

/// A limit of zero: it would let nothing through, and it never means "unlimited".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZeroLimit(());

impl ZeroLimit {
    pub(crate) const fn check(limit: usize) -> Result<NonZeroUsize, Self> {
        match NonZeroUsize::new(limit) {
            Some(limit) => Ok(limit),
            None => Err(Self(())),
        }
    }
}

impl fmt::Display for ZeroLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a limit of 0 lets nothing through: give at least 1, or leave the layer out")
    }
}

impl Error for ZeroLimit {}

/// Requests were still in flight when the time for draining was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StillInFlight {
    in_flight: usize,
    waited: Duration,
}

impl StillInFlight {
    pub(crate) const fn new(in_flight: usize, waited: Duration) -> Self {
        Self { in_flight, waited }
    }

    /// Returns the number that were in flight.
    pub const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Returns the time that they were waited for.
    pub const fn waited(&self) -> Duration {
        self.waited
    }
}

impl fmt::Display for StillInFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { in_flight, waited } = self;
        write!(
            f,
            "{in_flight} still in flight after {waited:?}; allow more time, or cut them off"
        )
    }
}

impl Error for StillInFlight {}

struct To<'a>(Option<&'a Origin>);

impl fmt::Display for To<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |origin| write!(f, " to {origin}"))
    }
}
