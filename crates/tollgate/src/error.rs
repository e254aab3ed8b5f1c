//! The error of every call.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use tollgate_connect_timeout::ConnectTimedOut;
use tollgate_core::error::find;
use tollgate_core::{BoxError, Origin, Timings};
use tollgate_dial::DialError;
use tollgate_keep_alive::{KeepAliveError, KeepAliveErrorKind};

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
}

enum Cause {
    Pool(KeepAliveError),
    Uri(BoxError),
    Body(hyper::Error, Place),
    Late(Duration, Place, io::Error),
}

/// Where an exchange was when it failed outside the pool.
struct Place {
    origin: Option<Origin>,
    timings: Timings,
}

impl Error {
    pub(crate) fn pool(error: KeepAliveError) -> Self {
        Self::new(ErrorKind::of(&error), Cause::Pool(error))
    }

    pub(crate) fn invalid_uri(error: BoxError) -> Self {
        Self::new(ErrorKind::InvalidRequest, Cause::Uri(error))
    }

    pub(crate) fn body(error: hyper::Error, origin: Option<Origin>, timings: Timings) -> Self {
        Self::new(
            ErrorKind::Body,
            Cause::Body(error, Place { origin, timings }),
        )
    }

    pub(crate) fn response_timed_out(origin: Option<Origin>, limit: Duration) -> Self {
        let timings = Timings::default();
        Self::late(ErrorKind::ResponseTimeout, limit, Place { origin, timings })
    }

    pub(crate) fn body_timed_out(
        limit: Duration,
        origin: Option<Origin>,
        timings: Timings,
    ) -> Self {
        Self::late(ErrorKind::BodyTimeout, limit, Place { origin, timings })
    }

    fn late(kind: ErrorKind, limit: Duration, place: Place) -> Self {
        Self::new(
            kind,
            Cause::Late(limit, place, io::ErrorKind::TimedOut.into()),
        )
    }

    fn new(kind: ErrorKind, cause: Cause) -> Self {
        Self(Box::new(Inner { kind, cause }))
    }

    /// What it is about.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the request can be sent again, whatever its method, with a prospect of success: no
    /// byte of it reached a server, and the error is not one that a next attempt would meet again.
    pub fn is_retryable(&self) -> bool {
        self.nothing_sent() && self.0.kind.is_retryable()
    }

    /// Whether no byte of the request reached a server.
    pub fn nothing_sent(&self) -> bool {
        match &self.0.cause {
            Cause::Pool(error) => error.nothing_sent(),
            Cause::Uri(_) => true,
            Cause::Body(..) | Cause::Late(..) => false,
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
            Cause::Body(_, place) | Cause::Late(_, place, _) => place.origin.as_ref(),
        }
    }

    /// How far the request came: `queued` is how long it waited for a connection, and so on.
    pub fn timings(&self) -> Timings {
        match &self.0.cause {
            Cause::Pool(error) => error.timings(),
            Cause::Uri(_) => Timings::default(),
            Cause::Body(_, place) | Cause::Late(_, place, _) => place.timings,
        }
    }

    /// The pool's own error, if it came from there: it has the queue's numbers.
    pub fn as_keep_alive(&self) -> Option<&KeepAliveError> {
        match &self.0.cause {
            Cause::Pool(error) => Some(error),
            _ => None,
        }
    }

    /// The pool's error if it is about opening a connection.
    fn connecting(&self) -> Option<&KeepAliveError> {
        self.as_keep_alive().filter(|error| {
            matches!(
                error.kind(),
                KeepAliveErrorKind::Connect | KeepAliveErrorKind::BackingOff
            )
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = To(self.origin());
        if let Some(error) = self.connecting() {
            return connect_message(f, self.0.kind, &to, error);
        }
        match &self.0.cause {
            Cause::Pool(_) if self.0.kind == ErrorKind::Tls => write!(
                f,
                "{to} refused the client certificate; give it one that it accepts, with \
                 TlsOptions::identity_pem"
            ),
            Cause::Pool(error) => error.fmt(f),
            Cause::Uri(_) => f.write_str(
                "not an absolute URI: write scheme and host, as in https://billing.internal/v1",
            ),
            Cause::Body(..) => write!(
                f,
                "the response body from {to} broke off before its end; the server or something on \
                 the way closed the connection"
            ),
            Cause::Late(limit, ..) if self.0.kind == ErrorKind::BodyTimeout => write!(
                f,
                "the response body from {to} was silent for {limit:?}; raise body_idle_timeout, or \
                 look why {to} stalls"
            ),
            Cause::Late(limit, ..) => write!(
                f,
                "no response from {to} within {limit:?}, waiting for a connection included; raise \
                 response_timeout, or look why {to} is slow; it may have acted on the request"
            ),
        }
    }
}

fn connect_message(
    f: &mut fmt::Formatter<'_>,
    kind: ErrorKind,
    to: &To<'_>,
    error: &KeepAliveError,
) -> fmt::Result {
    write!(f, "could not connect to {to}")?;
    if let Some(after) = connect_took(error) {
        write!(f, " after {after:?}")?;
    }
    match kind {
        ErrorKind::ConnectTimeout { phase } => write!(
            f,
            ": timed out in phase {}; look at what it waits for, or raise connect_timeout",
            phase.label()
        )?,
        _ => f.write_str(what_and_advice(kind))?,
    }
    if error.kind() == KeepAliveErrorKind::BackingOff {
        f.write_str("; that was the last attempt, the next is at most 1 s away")?;
    }
    Ok(())
}

const fn what_and_advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Dns => {
            ": name not resolved; check the name, the search list and the name servers"
        }
        ErrorKind::ConnectRefused => {
            ": connection refused; check that something listens on that port"
        }
        ErrorKind::Unreachable => {
            ": unreachable; check routes, and whether the address family is in use here"
        }
        ErrorKind::PortsExhausted => {
            ": no local port left; keep connections alive, lower the caps, or add local addresses"
        }
        ErrorKind::TooManyOpenFiles => {
            ": too many open files; raise the limit (ulimit -n) or lower the caps on connections"
        }
        ErrorKind::Tls => ": TLS handshake failed; its cause says what to change",
        ErrorKind::Blocked => {
            ": blocked by the address policy; AddrPolicy::allow permits a network"
        }
        _ => ": its cause says why",
    }
}

/// How long the connect itself took, from whoever knows.
fn connect_took(error: &KeepAliveError) -> Option<Duration> {
    let late = find::<ConnectTimedOut>(error).map(ConnectTimedOut::elapsed);
    let dial = find::<DialError>(error).map(DialError::elapsed);
    let took = late.or(dial)?;
    // Microseconds are noise beside a connect.
    Some(
        Duration::from_millis(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)).max(
            if took < Duration::from_millis(1) {
                took
            } else {
                Duration::ZERO
            },
        ),
    )
}

struct To<'a>(Option<&'a Origin>);

impl fmt::Display for To<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(origin) => origin.fmt(f),
            None => f.write_str("the request's origin"),
        }
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
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0.cause {
            Cause::Pool(error) => error.source(),
            Cause::Uri(error) => Some(&**error),
            Cause::Body(error, _) => Some(error),
            Cause::Late(_, _, error) => Some(error),
        }
    }
}
