//! The texts of errors: what, to where, after how long, what to change.

use std::fmt;
use std::time::Duration;

use tollgate_core::error::find;
use tollgate_core::{ConnectErrorKind, ConnectTimedOut, NotEncrypted, Origin, Phase, Rounded};
use tollgate_dial::DialError;
use tollgate_keep_alive::{KeepAliveError, KeepAliveErrorKind};

use crate::call_phase::CallPhase;
use crate::error::{Cause, Error};
use crate::error_kind::ErrorKind;
use crate::no_tls::NoTls;

const HANDSHAKE_FAILED: &str = ": TLS handshake failed; its cause says what to change";

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = To(self.origin());
        if let Some(error) = self.connecting() {
            return connect_message(f, self.kind(), &to, error);
        }
        match self.cause() {
            // Not while connecting: the handshake was over for this side, as TLS 1.3 refuses a client's
            // certificate late.
            Cause::Pool(error) if self.kind() == ErrorKind::Tls => write!(
                f,
                "{to} refused the client certificate {} after the request was handed to the \
                 connection; give it one that it accepts, with TlsOptions::identity_pem",
                Rounded(error.took().unwrap_or_default())
            ),
            Cause::Pool(error) => error.fmt(f),
            Cause::Uri(_) => f.write_str(
                "not an absolute URI: write scheme and host, as in https://billing.internal/v1",
            ),
            Cause::Body(_, after, _) => write!(
                f,
                "the response body from {to} broke off {} after its head; look why it, or \
                 something on the way, closed the connection",
                Rounded(*after)
            ),
            Cause::TooLarge(limit, _) => write!(
                f,
                "the response body from {to} is longer than the {limit} bytes that were asked for; raise \
                 that limit, or read it frame by frame"
            ),
            Cause::Decode(..) => write!(
                f,
                "the response body from {to} is not what it should be; its cause says where, look what it \
                 sends"
            ),
            Cause::Deadlock(_) => write!(
                f,
                "no connection to {to} after {}, nor will there be: all are held by callers that wait for \
                 another one there; read or drop the first response before the next call, or raise the \
                 connection cap",
                Rounded(self.timings().queued)
            ),
            Cause::Test => write!(f, "{}, made for a test", self.kind()),
            Cause::Late(limit, ..) if self.kind() == ErrorKind::BodyTimeout => write!(
                f,
                "the response body from {to} was silent for {limit:?}; raise body_idle_timeout, or \
                 look why it stalls"
            ),
            Cause::Late(limit, _, phase, _) => self.call_timed_out(f, &to, *limit, *phase),
        }
    }
}

impl Error {
    /// A limit of the call ran out, by the name that it has in the builder.
    fn call_timed_out(
        &self,
        f: &mut fmt::Formatter<'_>,
        to: &To<'_>,
        limit: Duration,
        phase: CallPhase,
    ) -> fmt::Result {
        let (name, all) = match self.kind() {
            ErrorKind::Timeout => ("timeout", "all of it"),
            _ => ("response_timeout", "its response"),
        };
        match phase {
            CallPhase::Body => write!(
                f,
                "the response body from {to} was not over {limit:?} after the call began; raise {name}, or \
                 look why it is slow"
            ),
            CallPhase::Connect if self.nothing_sent() => write!(
                f,
                "no connection to {to} within the {limit:?} that {all} may take, and one was being opened; it \
                 was not sent: raise the connection cap or {name}, or look why it is slow"
            ),
            CallPhase::Queue if self.nothing_sent() => write!(
                f,
                "no connection to {to} within the {limit:?} that {all} may take; it was not sent: raise the \
                 connection cap or {name}, or look why it is slow"
            ),
            _ => write!(
                f,
                "no response from {to} within {limit:?}, waiting for a connection included; raise {name}, or \
                 look why it is slow; it may have acted on the request"
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
    if let Some(refused) = find::<NotEncrypted>(error) {
        return write!(f, ": {refused}");
    }
    if let Some(after) = connect_took(error) {
        write!(f, " after {}", Rounded(after))?;
    }
    match kind {
        ErrorKind::ConnectTimeout { phase } => timed_out(f, phase, error)?,
        ErrorKind::Tls => handshake_failed(f, error)?,
        _ => {
            let (what, advice) = failure(kind);
            write!(f, ": {what}")?;
            if let Some(advice) = advice {
                write!(f, "; {advice}")?;
            }
        }
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
        // Neither the preface nor a connector that reports no phase has a limit of its own.
        _ => "connect_timeout",
    };
    write!(f, "; {}, or raise {clock}", phase.advice())
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

/// Returns the failure and the advice, in the words of the layer that failed.
const fn failure(kind: ErrorKind) -> (&'static str, Option<&'static str>) {
    let (what, kind) = match kind {
        ErrorKind::Dns => ("name not resolved", ConnectErrorKind::Dns),
        ErrorKind::ConnectRefused => ("connection refused", ConnectErrorKind::Refused),
        ErrorKind::Unreachable => ("unreachable", ConnectErrorKind::Unreachable),
        ErrorKind::PortsExhausted => ("no local port left", ConnectErrorKind::PortsExhausted),
        ErrorKind::TooManyOpenFiles => ("too many open files", ConnectErrorKind::TooManyOpenFiles),
        ErrorKind::Blocked => ("blocked by the address policy", ConnectErrorKind::Blocked),
        _ => return ("its cause says why", None),
    };
    (what, kind.advice())
}

/// Returns the time that the connect itself took, if any source has it.
fn connect_took(error: &KeepAliveError) -> Option<Duration> {
    let late = find::<ConnectTimedOut>(error).map(ConnectTimedOut::elapsed);
    let dial = find::<DialError>(error).map(DialError::elapsed);
    // Without a report of the connector, the time that the request waited for it.
    let waited =
        || Some(error.timings().queued).filter(|_| error.kind() == KeepAliveErrorKind::Connect);
    late.or(dial).or_else(waited)
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
