//! The errors.

use std::convert::Infallible;
use std::error::Error;
use std::num::NonZeroUsize;
use std::time::Duration;
use std::{fmt, io};

use tollgate_admission::Refusal;
use tollgate_core::{BoxError, Origin, RefuseReason};

/// The limit was reached and as many requests were waiting as may. Nothing was sent.
#[derive(Clone, Debug)]
pub struct PoolFull {
    origin: Option<Origin>,
    limit: usize,
    ahead: usize,
}

impl PoolFull {
    /// Where the request was going, if it says.
    pub const fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// How many requests may be in flight.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// How many were waiting.
    pub const fn ahead(&self) -> usize {
        self.ahead
    }

    /// How long it waited: not at all.
    pub const fn waited(&self) -> Duration {
        Duration::ZERO
    }
}

impl fmt::Display for PoolFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} are in flight{} and {} wait, which is as many as may; shed load, raise the limit \
             or raise max_waiting",
            self.limit,
            To(self.origin.as_ref()),
            self.ahead
        )
    }
}

impl Error for PoolFull {}

/// No place fell free within the acquire timeout. Nothing was sent.
///
/// Its source is an [`io::Error`] of kind [`TimedOut`](io::ErrorKind::TimedOut).
#[derive(Debug)]
pub struct AcquireTimedOut {
    origin: Option<Origin>,
    limit: usize,
    ahead: usize,
    waited: Duration,
    source: io::Error,
}

impl AcquireTimedOut {
    /// Where the request was going, if it says.
    pub const fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// How many requests may be in flight.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// How many were waiting before it when it came.
    pub const fn ahead(&self) -> usize {
        self.ahead
    }

    /// How long it waited.
    pub const fn waited(&self) -> Duration {
        self.waited
    }
}

impl fmt::Display for AcquireTimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "waited {:?} for one of {} places{}, with {} ahead; the peer is slow, bodies are held \
             open, or the limit is too low",
            self.waited,
            self.limit,
            To(self.origin.as_ref()),
            self.ahead
        )
    }
}

impl Error for AcquireTimedOut {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// The limit was closed through its handle. Nothing was sent.
#[derive(Clone, Debug)]
pub struct Closed {
    origin: Option<Origin>,
    limit: usize,
    ahead: usize,
    waited: Duration,
}

impl Closed {
    /// Where the request was going, if it says.
    pub const fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// How many requests were allowed in flight.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// How many were waiting before it when it came.
    pub const fn ahead(&self) -> usize {
        self.ahead
    }

    /// How long it waited.
    pub const fn waited(&self) -> Duration {
        self.waited
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = To(self.origin.as_ref());
        write!(f, "no new requests{to}: the limit was closed for shutdown")
    }
}

impl Error for Closed {}

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

    /// How many were in flight.
    pub const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How long they were waited for.
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

pub(crate) fn refused(
    refusal: &Refusal<Infallible>,
    origin: Option<Origin>,
    limit: usize,
) -> BoxError {
    let &Refusal { waited, ahead, .. } = refusal;
    match refusal.reason {
        RefuseReason::Full => Box::new(PoolFull {
            origin,
            limit,
            ahead,
        }),
        RefuseReason::TimedOut => Box::new(AcquireTimedOut {
            origin,
            limit,
            ahead,
            waited,
            source: io::ErrorKind::TimedOut.into(),
        }),
        _ => Box::new(Closed {
            origin,
            limit,
            ahead,
            waited,
        }),
    }
}
