//! The text of a dial's error: what failed, where to, after how long, what to change.

use std::fmt;
use std::net::IpAddr;

use tollgate_core::{Attempt, ConnectErrorKind, Rounded};

use crate::error::{DialError, DialFailure, Report, UNENCRYPTED};

/// The most addresses that a message names.
const LISTED: usize = 6;

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &self.inner().report;
        match self.failure() {
            DialFailure::InvalidUri => f.write_str(
                "the URI cannot be dialled: it takes the scheme http, or https below TLS, a host, and a port up to 65535 if any, as in http://billing.internal:8080",
            ),
            DialFailure::Unencrypted => {
                let (host, port) = (Host(&report.host), report.port);
                write!(f, "{host}:{port} was not dialled: {UNENCRYPTED}")
            }
            DialFailure::Resolve => {
                let after = Rounded(report.elapsed);
                write!(f, "could not resolve {} after {after}", Host(&report.host))
            }
            DialFailure::NoAddresses => no_addresses(f, report),
            DialFailure::Blocked => blocked(f, report),
            DialFailure::Timeout => timed_out(f, report),
            DialFailure::AllFailed => all_failed(f, report, self.kind()),
            DialFailure::UnixSocket => unix_socket(f, report),
        }
    }
}

fn no_addresses(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    let host = Host(&report.host);
    write!(
        f,
        "{host} has no address that could be dialled: the resolver's answer was empty, or had none of the family of the local address"
    )
}

fn blocked(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    write!(
        f,
        "{}:{} was not dialled: the address policy forbids ",
        Host(&report.host),
        report.port
    )?;
    list(f, &report.blocked, |f, addr| write!(f, "{}", addr.ip()))?;
    f.write_str("; AddrPolicy::allow permits a network")
}

fn timed_out(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    write!(
        f,
        "no connection{} after {}: ",
        To(report),
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
    let after = Rounded(report.elapsed);
    write!(f, "could not connect{} after {after}: ", To(report))?;
    list(f, &report.attempts, attempt)?;
    if !report.blocked.is_empty() {
        f.write_str("; the address policy forbids ")?;
        list(f, &report.blocked, |f, addr| write!(f, "{}", addr.ip()))?;
    }
    match kind.advice() {
        Some(advice) => write!(f, "; {advice}"),
        None => Ok(()),
    }
}

/// The host and port, unless the host is an address, which the list of attempts has.
struct To<'a>(&'a Report);

impl fmt::Display for To<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { host, port, .. } = self.0;
        if host.parse::<IpAddr>().is_ok() && !self.0.attempts.is_empty() {
            return Ok(());
        }
        write!(f, " to {}:{port}", Host(host))
    }
}

fn unix_socket(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    let path = report.path.as_deref().unwrap_or_else(|| "".as_ref());
    write!(
        f,
        "could not connect to the Unix socket {} of {} after {}: is its server running, and may this user write to it?",
        path.display(),
        Host(&report.host),
        Rounded(report.elapsed)
    )
}

fn attempt(f: &mut fmt::Formatter<'_>, attempt: &Attempt) -> fmt::Result {
    fmt::Display::fmt(attempt, f)
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

/// A host as a URI has it: an IPv6 address in brackets.
struct Host<'a>(&'a str);

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            address if address.contains(':') => write!(f, "[{address}]"),
            name => f.write_str(name),
        }
    }
}
