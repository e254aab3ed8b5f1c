//! What a failed dial says: what, where to, after how long, what to change.

use std::fmt;
use std::time::Duration;

use tollgate_core::{Attempt, ConnectErrorKind};

use crate::error::{DialError, DialFailure, Report};

/// As many addresses are named.
const LISTED: usize = 6;

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &self.inner().report;
        match self.failure() {
            DialFailure::InvalidUri => f.write_str(
                "the URI cannot be dialled: give a scheme and a host, as in https://billing.internal, and a port if the scheme is neither http nor https",
            ),
            DialFailure::Resolve => {
                let after = Rounded(report.elapsed);
                write!(f, "could not resolve {} after {after}", report.host)
            }
            DialFailure::NoAddresses => no_addresses(f, report),
            DialFailure::Blocked => blocked(f, report),
            DialFailure::TimedOut => timed_out(f, report),
            DialFailure::AllFailed => all_failed(f, report, self.kind()),
            DialFailure::UnixSocket => unix_socket(f, report),
        }
    }
}

fn no_addresses(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    let host = &report.host;
    write!(
        f,
        "{host} has no address that could be dialled: the resolver's answer was empty, or had none of the family of the local address"
    )
}

fn blocked(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    write!(
        f,
        "{}:{} was not dialled: the address policy forbids ",
        report.host, report.port
    )?;
    list(f, &report.blocked, |f, addr| write!(f, "{}", addr.ip()))?;
    f.write_str("; AddrPolicy::allow permits a network")
}

fn timed_out(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    let Report { host, port, .. } = report;
    write!(
        f,
        "no connection to {host}:{port} after {}: ",
        Rounded(report.elapsed)
    )?;
    if report.attempts.is_empty() {
        return f.write_str("the name was still being resolved");
    }
    list(f, &report.attempts, attempt)?;
    f.write_str(if report.awaited {
        "; more addresses were still being resolved"
    } else {
        ""
    })
}

fn all_failed(f: &mut fmt::Formatter<'_>, report: &Report, kind: ConnectErrorKind) -> fmt::Result {
    let Report { host, port, .. } = report;
    let after = Rounded(report.elapsed);
    write!(f, "could not connect to {host}:{port} after {after}: ")?;
    list(f, &report.attempts, attempt)?;
    if !report.blocked.is_empty() {
        f.write_str("; the address policy forbids ")?;
        list(f, &report.blocked, |f, addr| write!(f, "{}", addr.ip()))?;
    }
    f.write_str(match kind {
        ConnectErrorKind::PortsExhausted => {
            "; every local port for this destination is in use: keep connections alive, cap them, or add local addresses"
        }
        ConnectErrorKind::TooManyOpenFiles => {
            "; raise the limit on open files (ulimit -n) or lower the caps on connections"
        }
        _ => "",
    })
}

fn unix_socket(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    let path = report.path.as_deref().unwrap_or_else(|| "".as_ref());
    write!(
        f,
        "could not connect to the Unix socket {} of {} after {}: is its server running, and may this user write to it?",
        path.display(),
        report.host,
        Rounded(report.elapsed)
    )
}

fn attempt(f: &mut fmt::Formatter<'_>, attempt: &Attempt) -> fmt::Result {
    let rounded = Attempt::started(attempt.addr, Rounded(attempt.started_after).duration());
    write!(f, "{}", rounded.ended(attempt.outcome))
}

fn list<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    one: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (n, item) in items.iter().take(LISTED).enumerate() {
        f.write_str(if n == 0 { "" } else { ", " })?;
        one(f, item)?;
    }
    match items.len().saturating_sub(LISTED) {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}

/// A duration for people: whole milliseconds, or microseconds below one.
struct Rounded(Duration);

impl Rounded {
    fn duration(&self) -> Duration {
        match self.0.as_millis() {
            0 => Duration::from_micros(u64::try_from(self.0.as_micros()).unwrap_or(0)),
            ms => Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX)),
        }
    }
}

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.duration())
    }
}
