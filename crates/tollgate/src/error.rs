//! The error of every call.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tollgate_cached_dns::{LookupError, LookupErrorKind};
use tollgate_core::error::find;
use tollgate_core::{BoxError, NotEncrypted, Origin, Timings};
use tollgate_keep_alive::{
    KeepAliveBodyError, KeepAliveError, KeepAliveErrorKind, KeepAliveFuture,
};

use crate::call_phase::CallPhase;
use crate::error_kind::ErrorKind;
use crate::limits::End;
use crate::no_tls::NoTls;

/// The failure of a call, or of reading its response body.
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
    Body(KeepAliveBodyError, Duration, ExchangeState),
    Late(Duration, ExchangeState, CallPhase, Arc<io::Error>),
    TooLarge(usize, ExchangeState),
    #[cfg_attr(not(feature = "json"), expect(dead_code, reason = "no body is parsed"))]
    Decode(BoxError, ExchangeState),
    Deadlock(ExchangeState),
    Test,
}

/// The state of an exchange that failed outside the pool.
pub(crate) struct ExchangeState {
    origin: Option<Origin>,
    timings: Timings,
    nothing_sent: bool,
}

impl ExchangeState {
    /// In the middle of an exchange.
    pub(crate) const fn of_exchange(origin: Option<Origin>, timings: Timings) -> Self {
        Self {
            origin,
            timings,
            nothing_sent: false,
        }
    }

    /// Returns the state of a call that is not over.
    pub(crate) fn of_call(origin: Option<Origin>, call: &KeepAliveFuture) -> Self {
        Self {
            origin,
            timings: call.timings(),
            nothing_sent: call.nothing_sent(),
        }
    }
}

impl ExchangeState {
    /// Returns the state of a call that the pool gave up.
    pub(crate) fn of_refused(error: &KeepAliveError) -> Self {
        Self {
            origin: error.origin().cloned(),
            timings: error.timings(),
            nothing_sent: error.nothing_sent(),
        }
    }

    /// Returns true if the request was handed to a connection, and not taken back.
    pub(crate) const fn is_on_connection(&self) -> bool {
        self.timings.connection > 0
    }
}

impl Error {
    pub(crate) fn pool(error: KeepAliveError) -> Self {
        Self::new(ErrorKind::of(&error), Cause::Pool(Arc::new(error)))
    }

    pub(crate) fn invalid_uri(error: BoxError) -> Self {
        Self::new(ErrorKind::InvalidRequest, Cause::Uri(error.into()))
    }

    pub(crate) fn body(error: KeepAliveBodyError, after: Duration, state: ExchangeState) -> Self {
        Self::new(ErrorKind::Body, Cause::Body(error, after, state))
    }

    pub(crate) fn timed_out(end: End, state: ExchangeState, phase: CallPhase) -> Self {
        let kind = if end.is_whole {
            ErrorKind::Timeout
        } else {
            ErrorKind::ResponseTimeout
        };
        Self::late(kind, end.limit, state, phase)
    }

    pub(crate) fn body_timed_out(limit: Duration, state: ExchangeState) -> Self {
        Self::late(ErrorKind::BodyTimeout, limit, state, CallPhase::Body)
    }

    pub(crate) fn body_too_large(limit: usize, state: ExchangeState) -> Self {
        Self::new(ErrorKind::BodyTooLarge, Cause::TooLarge(limit, state))
    }

    #[cfg(feature = "json")]
    pub(crate) fn decode(error: BoxError, state: ExchangeState) -> Self {
        Self::new(ErrorKind::Decode, Cause::Decode(error, state))
    }

    /// Makes an error of this kind, for tests of code that looks at errors. It has neither origin nor
    /// timings nor source; [`is_retryable`](Self::is_retryable), [`is_timeout`](Self::is_timeout) and
    /// so on say what they say of such an error as a rule.
    pub fn for_test(kind: ErrorKind) -> Self {
        Self::new(kind, Cause::Test)
    }

    pub(crate) fn deadlock(state: ExchangeState) -> Self {
        Self::new(ErrorKind::Deadlock, Cause::Deadlock(state))
    }

    fn late(kind: ErrorKind, limit: Duration, state: ExchangeState, phase: CallPhase) -> Self {
        // The chain ends in what classifiers know a timeout by, reqwest's `is_timeout` among them.
        let source = Arc::new(io::ErrorKind::TimedOut.into());
        Self::new(kind, Cause::Late(limit, state, phase, source))
    }

    fn new(kind: ErrorKind, cause: Cause) -> Self {
        Self(Box::new(Inner {
            kind,
            cause,
            #[cfg(feature = "tonic")]
            status: None,
        }))
    }

    /// The error of a gRPC call has a status in its chain, which is what tonic looks for.
    #[cfg(feature = "tonic")]
    pub(crate) fn of_grpc(mut self, grpc: bool) -> Self {
        if grpc {
            self.0.status = crate::grpc::status(&self);
        }
        self
    }

    #[cfg(not(feature = "tonic"))]
    pub(crate) const fn of_grpc(self, _: bool) -> Self {
        self
    }

    /// Returns the kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns true if the request can be sent again, whatever its method, with a prospect of
    /// success: no byte of it reached a server, and the error is not one that a next attempt would
    /// meet again.
    pub fn is_retryable(&self) -> bool {
        let kind = self.0.kind;
        // Nothing was sent, and nothing will be before the client is built in another way.
        if self.is_unencrypted() {
            return false;
        }
        // A limit of the call that ran out in the queue is one of the queue.
        let of_call = matches!(kind, ErrorKind::ResponseTimeout | ErrorKind::Timeout);
        self.nothing_sent() && (kind.is_retryable() || of_call) && !self.is_for_good()
    }

    /// Returns true if the next attempt would meet the same: a name that does not exist is an
    /// answer, and a certificate that is wrong stays so.
    fn is_for_good(&self) -> bool {
        let Some(error) = self.connecting() else {
            return false;
        };
        let name = find::<LookupError>(error).map(LookupError::kind);
        let name = matches!(
            name,
            Some(
                LookupErrorKind::NotFound { .. }
                    | LookupErrorKind::InvalidName
                    | LookupErrorKind::Blocked
            )
        );
        name || tls_failed_for_good(error)
    }

    /// `https` was refused for lack of TLS, as it will be the next time.
    fn is_unencrypted(&self) -> bool {
        self.0.kind == ErrorKind::Tls
            && self.as_keep_alive().is_some_and(|error| {
                find::<NotEncrypted>(error).is_some() || find::<NoTls>(error).is_some()
            })
    }

    /// Returns true if no byte of the request reached a server.
    pub fn nothing_sent(&self) -> bool {
        match &self.0.cause {
            Cause::Pool(error) => error.nothing_sent(),
            Cause::Uri(_) => true,
            Cause::Test => self.0.kind.nothing_sent(),
            Cause::Body(_, _, state)
            | Cause::Late(_, state, ..)
            | Cause::TooLarge(_, state)
            | Cause::Deadlock(state)
            | Cause::Decode(_, state) => state.nothing_sent,
        }
    }

    /// Returns true if a clock ended it: waiting for a connection, connecting, or waiting for the
    /// response.
    pub fn is_timeout(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::QueueTimeout
                | ErrorKind::ConnectTimeout { .. }
                | ErrorKind::ResponseTimeout
                | ErrorKind::Timeout
                | ErrorKind::BodyTimeout
        )
    }

    /// Returns the phase in which a limit of the call ran out: for [`Timeout`](ErrorKind::Timeout),
    /// [`ResponseTimeout`](ErrorKind::ResponseTimeout) and [`BodyTimeout`](ErrorKind::BodyTimeout).
    pub fn phase(&self) -> Option<CallPhase> {
        match self.0.cause {
            Cause::Late(_, _, phase, _) => Some(phase),
            _ => None,
        }
    }

    /// Returns true if opening a connection failed, in whichever phase.
    pub fn is_connect(&self) -> bool {
        match self.0.cause {
            Cause::Test => self.0.kind.is_connect(),
            _ => self.connecting().is_some(),
        }
    }

    /// Returns true if no attempt was made because attempts of a moment ago had failed. The kind is
    /// that of the last one.
    pub fn is_backing_off(&self) -> bool {
        matches!(&self.0.cause, Cause::Pool(error) if error.kind() == KeepAliveErrorKind::BackingOff)
    }

    /// Returns the request's origin; `None` if it has none.
    pub fn origin(&self) -> Option<&Origin> {
        match &self.0.cause {
            Cause::Pool(error) => error.origin(),
            Cause::Uri(_) | Cause::Test => None,
            Cause::Body(_, _, state)
            | Cause::Late(_, state, ..)
            | Cause::TooLarge(_, state)
            | Cause::Deadlock(state)
            | Cause::Decode(_, state) => state.origin.as_ref(),
        }
    }

    /// Returns the times of the request's phases: `queued` is how long it waited for a connection,
    /// and so on.
    pub fn timings(&self) -> Timings {
        match &self.0.cause {
            Cause::Pool(error) => error.timings(),
            Cause::Uri(_) | Cause::Test => Timings::default(),
            Cause::Body(_, _, state)
            | Cause::Late(_, state, ..)
            | Cause::TooLarge(_, state)
            | Cause::Deadlock(state)
            | Cause::Decode(_, state) => state.timings,
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

#[cfg(feature = "tls")]
fn tls_failed_for_good(error: &KeepAliveError) -> bool {
    let failed = find::<crate::tls::TlsError>(error);
    // The handshake was over for this side.
    let refused = || find::<rustls::Error>(error).is_some_and(crate::tls::is_about_our_certificate);
    failed.map_or_else(refused, |error| error.failure().is_for_good())
}

#[cfg(not(feature = "tls"))]
fn tls_failed_for_good(_: &KeepAliveError) -> bool {
    false
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
    /// With the feature `tonic`, the error of a gRPC call may have a `tonic::Status` first.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        #[cfg(feature = "tonic")]
        if let Some(status) = &self.0.status {
            return Some(status);
        }
        match &self.0.cause {
            Cause::Pool(error) => error.source(),
            Cause::Uri(error) => Some(&**error),
            Cause::Body(error, ..) => Some(error),
            Cause::Late(.., error) => Some(&**error),
            Cause::TooLarge(..) | Cause::Deadlock(_) | Cause::Test => None,
            Cause::Decode(error, _) => Some(&**error),
        }
    }
}
