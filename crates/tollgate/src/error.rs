//! The error of every call.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tollgate_core::{BoxError, Origin, Timings};
use tollgate_keep_alive::{KeepAliveError, KeepAliveErrorKind, KeepAliveFuture};

use crate::error_kind::ErrorKind;

/// What a call, or the reading of its response body, failed with.
///
/// [`kind`](Self::kind) is for matching. `Display` is for people: what, to where, after how long,
/// and what to change. [`source`](StdError::source) leads to the error of the layer that failed and
/// to what it met in turn: [`find`](tollgate_core::error::find) gets at a
/// [`ConnectTimedOut`](tollgate_connect_timeout::ConnectTimedOut), a
/// [`DialError`](tollgate_dial::DialError) with every attempt, a
/// [`LookupError`](tollgate_cached_dns::LookupError), a `TlsError`.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    cause: Cause,
    #[cfg(feature = "tonic")]
    status: Option<tonic::Status>,
}

/// Shared with the status of a gRPC call, which stands before it in the chain of sources.
pub(crate) enum Cause {
    Pool(Arc<KeepAliveError>),
    Uri(Arc<dyn StdError + Send + Sync>),
    Body(hyper::Error, Duration, Place),
    Late(Duration, Place, Arc<io::Error>),
}

/// Where an exchange was when it failed outside the pool.
pub(crate) struct Place {
    origin: Option<Origin>,
    timings: Timings,
    nothing_sent: bool,
}

impl Place {
    /// In the middle of an exchange.
    pub(crate) const fn of_exchange(origin: Option<Origin>, timings: Timings) -> Self {
        Self {
            origin,
            timings,
            nothing_sent: false,
        }
    }

    /// Where a call is that is not over.
    pub(crate) fn of_call(origin: Option<Origin>, call: &KeepAliveFuture) -> Self {
        Self {
            origin,
            timings: call.timings(),
            nothing_sent: call.nothing_sent(),
        }
    }
}

impl Error {
    pub(crate) fn pool(error: KeepAliveError) -> Self {
        Self::new(ErrorKind::of(&error), Cause::Pool(Arc::new(error)))
    }

    pub(crate) fn invalid_uri(error: BoxError) -> Self {
        Self::new(ErrorKind::InvalidRequest, Cause::Uri(error.into()))
    }

    pub(crate) fn body(error: hyper::Error, after: Duration, place: Place) -> Self {
        Self::new(ErrorKind::Body, Cause::Body(error, after, place))
    }

    pub(crate) fn response_timed_out(limit: Duration, place: Place) -> Self {
        Self::late(ErrorKind::ResponseTimeout, limit, place)
    }

    pub(crate) fn body_timed_out(limit: Duration, place: Place) -> Self {
        Self::late(ErrorKind::BodyTimeout, limit, place)
    }

    fn late(kind: ErrorKind, limit: Duration, place: Place) -> Self {
        Self::new(
            kind,
            Cause::Late(limit, place, Arc::new(io::ErrorKind::TimedOut.into())),
        )
    }

    fn new(kind: ErrorKind, cause: Cause) -> Self {
        #[cfg_attr(not(feature = "tonic"), expect(unused_mut, reason = "has no status"))]
        let mut error = Self(Box::new(Inner {
            kind,
            cause,
            #[cfg(feature = "tonic")]
            status: None,
        }));
        #[cfg(feature = "tonic")]
        {
            error.0.status = crate::grpc::status(&error);
        }
        error
    }

    /// What it is about.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the request can be sent again, whatever its method, with a prospect of success: no
    /// byte of it reached a server, and the error is not one that a next attempt would meet again.
    pub fn is_retryable(&self) -> bool {
        let kind = self.0.kind;
        // A response timeout that struck in the queue is one of the queue.
        self.nothing_sent() && (kind.is_retryable() || kind == ErrorKind::ResponseTimeout)
    }

    /// Whether no byte of the request reached a server.
    pub fn nothing_sent(&self) -> bool {
        match &self.0.cause {
            Cause::Pool(error) => error.nothing_sent(),
            Cause::Uri(_) => true,
            Cause::Body(_, _, place) | Cause::Late(_, place, _) => place.nothing_sent,
        }
    }

    /// Whether a clock ended it: waiting for a connection, connecting, or waiting for the response.
    pub fn is_timeout(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::QueueTimeout
                | ErrorKind::ConnectTimeout { .. }
                | ErrorKind::ResponseTimeout
                | ErrorKind::BodyTimeout
        )
    }

    /// Whether opening a connection failed, in whichever phase.
    pub fn is_connect(&self) -> bool {
        self.connecting().is_some()
    }

    /// Whether no attempt was made because attempts of a moment ago had failed. The kind is that of
    /// the last one.
    pub fn is_backing_off(&self) -> bool {
        matches!(&self.0.cause, Cause::Pool(error) if error.kind() == KeepAliveErrorKind::BackingOff)
    }

    /// Where the request was going; `None` if that could not be told.
    pub fn origin(&self) -> Option<&Origin> {
        match &self.0.cause {
            Cause::Pool(error) => error.origin(),
            Cause::Uri(_) => None,
            Cause::Body(_, _, place) | Cause::Late(_, place, _) => place.origin.as_ref(),
        }
    }

    /// How far the request came: `queued` is how long it waited for a connection, and so on.
    pub fn timings(&self) -> Timings {
        match &self.0.cause {
            Cause::Pool(error) => error.timings(),
            Cause::Uri(_) => Timings::default(),
            Cause::Body(_, _, place) | Cause::Late(_, place, _) => place.timings,
        }
    }

    /// The pool's own error, if it came from there: it has the queue's numbers.
    pub fn as_keep_alive(&self) -> Option<&KeepAliveError> {
        match &self.0.cause {
            Cause::Pool(error) => Some(error),
            _ => None,
        }
    }

    pub(crate) fn cause(&self) -> &Cause {
        &self.0.cause
    }

    /// The pool's error if it is about opening a connection.
    pub(crate) fn connecting(&self) -> Option<&KeepAliveError> {
        self.as_keep_alive().filter(|error| {
            matches!(
                error.kind(),
                KeepAliveErrorKind::Connect | KeepAliveErrorKind::BackingOff
            )
        })
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("origin", &self.origin())
            .field("timings", &self.timings())
            .field("source", &self.source())
            .finish()
    }
}

impl StdError for Error {
    /// The pool's own words are in `Display`; the chain goes on with what the pool met.
    ///
    /// With the feature `tonic`, a `tonic::Status` may come first.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        #[cfg(feature = "tonic")]
        if let Some(status) = &self.0.status {
            return Some(status);
        }
        match &self.0.cause {
            Cause::Pool(error) => error.source(),
            Cause::Uri(error) => Some(&**error),
            Cause::Body(error, ..) => Some(error),
            Cause::Late(_, _, error) => Some(&**error),
        }
    }
}
