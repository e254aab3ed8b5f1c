//! What a call can fail with.

mod message;

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

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
    /// It was the request's own deadline that passed.
    overdue: bool,
    /// An attempt before the one it is about may have reached a server.
    heard: bool,
    source: Option<Source>,
}

enum Source {
    Own(BoxError),
    /// One dial's failure is told to everyone who waited for it.
    Shared(Arc<BoxError>),
}

/// What a [`KeepAliveError`] is about: the last attempt. An earlier one may have been sent all the
/// same, which [`nothing_sent`](KeepAliveError::nothing_sent) knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeepAliveErrorKind {
    /// The request's URI has no scheme and host, or its headers cannot be sent. Nothing was sent.
    InvalidRequest,
    /// As many requests wait for this origin as may. Nothing was sent.
    QueueFull,
    /// The request waited for a connection as long as it may. Nothing was sent.
    QueueTimedOut,
    /// The connection this request waited for could not be opened. Nothing was sent.
    Connect,
    /// Opening connections to this origin failed repeatedly a moment ago, and it is not tried again
    /// yet. Nothing was sent.
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
            overdue: false,
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
            RefuseReason::Full => KeepAliveErrorKind::QueueFull,
            RefuseReason::TimedOut => KeepAliveErrorKind::QueueTimedOut,
            RefuseReason::OpenFailed => KeepAliveErrorKind::Connect,
            RefuseReason::BackingOff => KeepAliveErrorKind::BackingOff,
            _ => KeepAliveErrorKind::Closed,
        };
        let mut error = Self::new(kind, Some(origin));
        error.0.limit = limit;
        error.0.ahead = ahead;
        error.0.timings.queued = waited;
        error.0.source = match (dial, kind) {
            (Some(dial), _) => Some(Source::Shared(dial)),
            (None, KeepAliveErrorKind::QueueTimedOut) => Some(Source::Own(
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

    pub(crate) fn with_timings(mut self, timings: Timings) -> Self {
        self.0.timings = timings;
        self
    }

    pub(crate) fn overdue(mut self) -> Self {
        self.0.overdue = true;
        self
    }

    /// The request had waited and had been started before.
    pub(crate) fn after(mut self, queued: Duration, attempts: u32) -> Self {
        self.0.timings.queued += queued;
        self.0.timings.attempts += attempts;
        self
    }

    /// Whether an attempt before the one it is about may have reached a server.
    pub(crate) fn heard_before(mut self, heard: bool) -> Self {
        self.0.heard = heard;
        self
    }

    pub(crate) fn with_took(mut self, took: Duration) -> Self {
        self.0.took = Some(took);
        self
    }

    /// How long after it got its connection the last attempt failed; `None` if the request never was
    /// handed to one.
    pub fn took(&self) -> Option<Duration> {
        self.0.took
    }

    /// What it is about.
    pub fn kind(&self) -> KeepAliveErrorKind {
        self.0.kind
    }

    /// Whether no byte of the request reached a server in any attempt, so that it can be sent again
    /// whatever its method.
    pub fn nothing_sent(&self) -> bool {
        self.0.kind.nothing_sent() && !self.0.heard
    }

    /// Where the request was going; `None` if that could not be told.
    pub fn origin(&self) -> Option<&Origin> {
        self.0.origin.as_ref()
    }

    /// How far it came: `queued` is how long it waited for a connection, and so on.
    pub fn timings(&self) -> Timings {
        self.0.timings
    }

    /// How many requests waited before it when it joined the queue.
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
