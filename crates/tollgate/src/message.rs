//! What an error says: what, to where, after how long, what to change.

use std::fmt;
use std::time::Duration;

use tollgate_connect_timeout::ConnectTimedOut;
use tollgate_core::error::find;
use tollgate_core::{Origin, Phase};
use tollgate_dial::DialError;
use tollgate_keep_alive::{KeepAliveError, KeepAliveErrorKind, OpenTimedOut};

use crate::error::{Cause, Error};
use crate::error_kind::ErrorKind;
use crate::plaintext::NoTls;

const HANDSHAKE_FAILED: &str = ": TLS handshake failed; its cause says what to change";

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = To(self.origin());
        if let Some(error) = self.connecting() {
            return connect_message(f, self.kind(), &to, error);
        }
        match self.cause() {
            Cause::Pool(error) if self.kind() == ErrorKind::Tls => write!(
                f,
                "{to} refused the client certificate {:?} after the request was handed to the \
                 connection; give it one that it accepts, with TlsOptions::identity_pem",
                error.took().unwrap_or_default()
            ),
            Cause::Pool(error) => error.fmt(f),
            Cause::Uri(_) => f.write_str(
                "not an absolute URI: write scheme and host, as in https://billing.internal/v1",
            ),
            Cause::Body(_, after, _) => write!(
                f,
                "the response body from {to} broke off {after:?} after its head; look why {to}, or \
                 something on the way, closed the connection"
            ),
            Cause::Late(limit, ..) if self.kind() == ErrorKind::BodyTimeout => write!(
                f,
                "the response body from {to} was silent for {limit:?}; raise body_idle_timeout, or \
                 look why {to} stalls"
            ),
            Cause::Late(limit, ..) if self.nothing_sent() => write!(
                f,
                "no connection to {to} within the {limit:?} that its response may take; it was not \
                 sent: raise the connection cap or response_timeout, or look why {to} is slow"
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
    if let Some(refused) = find::<NoTls>(error) {
        // Without an attempt, so in no time.
        return write!(f, ": {refused}");
    }
    if let Some(after) = connect_took(error) {
        write!(f, " after {after:?}")?;
    }
    match kind {
        ErrorKind::ConnectTimeout { phase } => timed_out(f, phase, error)?,
        ErrorKind::Tls => handshake_failed(f, error)?,
        _ => f.write_str(what_and_advice(kind))?,
    }
    if error.kind() == KeepAliveErrorKind::BackingOff {
        f.write_str("; that was the last attempt, the next is at most 1 s away")?;
    }
    if !error.nothing_sent() {
        f.write_str("; an earlier attempt was sent, and the server may have acted on it")?;
    }
    Ok(())
}

/// Which clock struck, by the name that it has in the builder.
fn timed_out(f: &mut fmt::Formatter<'_>, phase: Phase, error: &KeepAliveError) -> fmt::Result {
    write!(f, ": timed out in phase {}", phase.label())?;
    let of_phase = find::<ConnectTimedOut>(error).filter(|late| late.is_phase_limit());
    if let Some(late) = of_phase {
        write!(f, ", which may take {:?}", late.limit())?;
    }
    let clock = match (phase, of_phase) {
        (Phase::Dns, Some(_)) => "dns_timeout",
        (Phase::Tcp, Some(_)) => "tcp_timeout",
        (Phase::Tls, Some(_)) => "tls_timeout",
        _ => "connect_timeout",
    };
    write!(f, "; look at what it waits for, or raise {clock}")
}

/// In which way, if the handshake was ours.
#[cfg(feature = "tls")]
fn handshake_failed(f: &mut fmt::Formatter<'_>, error: &KeepAliveError) -> fmt::Result {
    match find::<crate::tls::TlsError>(error) {
        Some(tls) => write!(f, ": TLS handshake failed: {}", tls.failure()),
        None => f.write_str(HANDSHAKE_FAILED),
    }
}

#[cfg(not(feature = "tls"))]
fn handshake_failed(f: &mut fmt::Formatter<'_>, _: &KeepAliveError) -> fmt::Result {
    f.write_str(HANDSHAKE_FAILED)
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
        ErrorKind::Blocked => {
            ": blocked by the address policy; AddrPolicy::allow permits a network"
        }
        _ => ": its cause says why",
    }
}

/// How long the connect itself took, from whoever knows.
fn connect_took(error: &KeepAliveError) -> Option<Duration> {
    let late = find::<ConnectTimedOut>(error).map(ConnectTimedOut::elapsed);
    let open = find::<OpenTimedOut>(error).map(OpenTimedOut::elapsed);
    let dial = find::<DialError>(error).map(DialError::elapsed);
    // A connector that does not say leaves the time that the request waited for it.
    let waited =
        || Some(error.timings().queued).filter(|_| error.kind() == KeepAliveErrorKind::Connect);
    let took = late.or(open).or(dial).or_else(waited)?;
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
