//! What a call can fail with.

mod message;

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tollgate_admission::Late;
use tollgate_core::{BoxError, Origin, RefuseReason, Timings};

/// The failure of one call through the pool.
///
/// [`kind`](Self::kind) is for matching, `Display` is for people, [`source`](Error::source) is the
/// error underneath: the connector's for a failed dial, hyper's for a broken exchange. For a queue
/// timeout the chain ends in an `io::Error` of kind `TimedOut`, so that classifiers which look for
/// that find it.
pub struct KeepAliveError(Box<Inner>);

struct Inner {
    kind: KeepAliveErrorKind,
    origin: Option<Origin>,
    limit: usize,
    ahead: usize,
    timings: Timings,
    took: Option<Duration>,
    /// Its own time ran out, or would have.
    late: Option<OwnTime>,
    /// An attempt before the one it is about may have reached a server.
    heard: bool,
    source: Option<Source>,
}

/// The way in which a request's own time was too short.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OwnTime {
    /// It is over, and a connection was being opened by then, or none.
    Over { connecting: bool },
    /// It leaves too little for an exchange.
    Short(Late),
}

enum Source {
    Own(BoxError),
    /// One dial's failure goes to every request that waited for it.
    Shared(Arc<BoxError>),
}

/// The kind of a [`KeepAliveError`]: of the last attempt. An earlier one may have been sent all the
/// same, which [`nothing_sent`](KeepAliveError::nothing_sent) knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeepAliveErrorKind {
    /// The request's URI has no scheme and host, its length is not its body's, or its headers cannot be
    /// sent. Nothing was sent.
    InvalidRequest,
    /// As many requests wait for this origin as may. Nothing was sent.
    QueueFull,
    /// The request waited for a connection as long as it may. Nothing was sent.
    QueueTimeout,
    /// The connection this request waited for could not be opened. Nothing was sent.
    Connect,
    /// Opening connections to this origin failed repeatedly a moment ago, and the request ends before it
    /// is tried again, or as many wait for that as may. Nothing was sent.
    BackingOff,
    /// The pool is draining or closed. Nothing was sent.
    Closed,
    /// Called outside a tokio runtime. Nothing was sent.
    NoRuntime,
    /// Every connection tried was closed before the request was written, or the peer said by HTTP/2 that
    /// it did not process it. As good as nothing was sent.
    ClosedBeforeSent,
    /// The connection was closed after the request, or a part of it, was written and before a
    /// response head came. The server may have acted on it.
    ClosedAfterSent,
    /// The exchange failed: the request body's own error, or a response that is not HTTP. The server
    /// may have acted on the request.
    Exchange,
}

impl KeepAliveErrorKind {
    const fn nothing_sent(self) -> bool {
        !matches!(self, Self::ClosedAfterSent | Self::Exchange)
    }
}

impl KeepAliveError {
    pub(crate) fn new(kind: KeepAliveErrorKind, origin: Option<Origin>) -> Self {
        Self(Box::new(Inner {
            kind,
            origin,
            limit: 0,
            ahead: 0,
            timings: Timings::default(),
            took: None,
            late: None,
            heard: false,
            source: None,
        }))
    }

    pub(crate) fn refused(
        reason: RefuseReason,
        origin: Origin,
        (waited, ahead, limit): (Duration, usize, usize),
        dial: Option<Arc<BoxError>>,
    ) -> Self {
        let kind = match reason {
            RefuseReason::QueueFull => KeepAliveErrorKind::QueueFull,
            RefuseReason::QueueTimeout => KeepAliveErrorKind::QueueTimeout,
            RefuseReason::Connect => KeepAliveErrorKind::Connect,
            RefuseReason::BackingOff => KeepAliveErrorKind::BackingOff,
            _ => KeepAliveErrorKind::Closed,
        };
        let mut error = Self::new(kind, Some(origin));
        error.0.limit = limit;
        error.0.ahead = ahead;
        error.0.timings.queued = waited;
        error.0.source = match (dial, kind) {
            (Some(dial), _) => Some(Source::Shared(dial)),
            (None, KeepAliveErrorKind::QueueTimeout) => Some(Source::Own(
                std::io::Error::from(std::io::ErrorKind::TimedOut).into(),
            )),
            (None, _) => None,
        };
        error
    }

    pub(crate) fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(Source::Own(source.into()));
        self
    }

    /// It failed with a dial that others waited for too.
    pub(crate) fn with_failed_dial(mut self, dial: Arc<BoxError>) -> Self {
        self.0.source = Some(Source::Shared(dial));
        self
    }

    pub(crate) fn with_timings(mut self, timings: Timings) -> Self {
        self.0.timings = timings;
        self
    }

    /// The request's own time ran out, or would have.
    pub(crate) fn with_own_time(mut self, late: OwnTime) -> Self {
        self.0.late = Some(late);
        self
    }

    /// The request had waited and had been started before.
    pub(crate) fn after(mut self, queued: Duration, attempts: u32) -> Self {
        self.0.timings.queued += queued;
        self.0.timings.attempts += attempts;
        self
    }

    /// Returns true if an attempt before the one it is about may have reached a server.
    pub(crate) fn heard_before(mut self, heard: bool) -> Self {
        self.0.heard = heard;
        self
    }

    pub(crate) fn with_took(mut self, took: Duration) -> Self {
        self.0.took = Some(took);
        self
    }

    /// Returns the time that after it got its connection the last attempt failed; `None` if the
    /// request never was handed to one.
    pub fn took(&self) -> Option<Duration> {
        self.0.took
    }

    /// Returns the kind.
    pub fn kind(&self) -> KeepAliveErrorKind {
        self.0.kind
    }

    /// Returns true if no byte of the request reached a server in any attempt, so that it can be
    /// sent again whatever its method.
    pub fn nothing_sent(&self) -> bool {
        self.0.kind.nothing_sent() && !self.0.heard
    }

    /// Returns true if the request's own time was over before it got a connection: its
    /// [`Deadline`](crate::Deadline) or its [`Limits`](crate::Limits).
    pub fn is_overdue(&self) -> bool {
        matches!(self.0.late, Some(OwnTime::Over { .. }))
    }

    /// Returns true if it was refused before its time was over, since that left less than the origin's
    /// exchanges typically take.
    pub fn would_be_late(&self) -> bool {
        matches!(self.0.late, Some(OwnTime::Short(_)))
    }

    /// Returns true if its own time ran out while a connection to its origin was being opened.
    pub fn was_connecting(&self) -> bool {
        matches!(self.0.late, Some(OwnTime::Over { connecting: true }))
    }

    /// Returns the request's origin; `None` if it has none.
    pub fn origin(&self) -> Option<&Origin> {
        self.0.origin.as_ref()
    }

    /// Returns the times of the request's phases: `queued` is how long it waited for a connection,
    /// and so on.
    pub fn timings(&self) -> Timings {
        self.0.timings
    }

    /// Returns the number of requests that waited before it when it joined the queue.
    pub fn ahead(&self) -> usize {
        self.0.ahead
    }

    /// The cap on connections that it waited under; 0 if it did not come that far.
    pub fn limit(&self) -> usize {
        self.0.limit
    }
}

impl fmt::Debug for KeepAliveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            kind,
            origin,
            limit,
            ahead,
            timings,
            ..
        } = &*self.0;
        f.debug_struct("KeepAliveError")
            .field("kind", kind)
            .field("origin", origin)
            .field("limit", limit)
            .field("ahead", ahead)
            .field("timings", timings)
            .field("source", &self.source())
            .finish()
    }
}

impl Error for KeepAliveError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self.0.source.as_ref()? {
            Source::Own(error) => Some(&**error),
            Source::Shared(error) => Some(&***error),
        }
    }
}
