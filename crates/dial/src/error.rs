//! Why a dial failed.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tollgate_core::{Attempt, AttemptOutcome, BoxError, Classified, ConnectErrorKind};

use crate::judge::rank;

/// A dial failed: what, where to, after how long, and each attempt.
///
/// Its chain of sources holds a [`Classified`], so [`ConnectErrorKind::of`] works on it from afar,
/// and ends in the resolver's error, in the `io::Error` of the attempt that tells most, or in an
/// `io::Error` of kind `TimedOut`, `PermissionDenied` (blocked), `NotFound` (no addresses) or
/// `InvalidInput` (the URI).
pub struct DialError(Box<Inner>);

pub(crate) struct Inner {
    pub(crate) failure: DialFailure,
    pub(crate) report: Report,
    cause: Classified,
}

/// What a dial knows about itself when it fails.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
    pub(crate) elapsed: Duration,
    pub(crate) dns: Option<Duration>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) failures: Vec<FailedAttempt>,
    pub(crate) blocked: Vec<SocketAddr>,
    pub(crate) path: Option<PathBuf>,
    /// Whether addresses were still to come.
    pub(crate) awaited: bool,
}

/// The way in which a dial failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum DialFailure {
    /// The URI names no host, or no port for a scheme that has no default.
    InvalidUri,
    /// The resolver failed.
    Resolve,
    /// The resolver's answer was empty, or had no address of the one family that a local address
    /// was given for.
    NoAddresses,
    /// The address policy forbids every address.
    Blocked,
    /// The time for the whole dial was over.
    TimedOut,
    /// Every attempt failed.
    AllFailed,
    /// The Unix socket that the host leads to could not be connected to.
    UnixSocket,
}

impl DialError {
    pub(crate) fn invalid_uri(why: &'static str, report: Report) -> Self {
        let source = io::Error::new(io::ErrorKind::InvalidInput, why);
        let cause = Classified::new(ConnectErrorKind::Other).because(source);
        Self::new(DialFailure::InvalidUri, report, cause)
    }

    pub(crate) fn resolve(error: BoxError, report: Report) -> Self {
        let cause = Classified::new(ConnectErrorKind::Dns).because(error);
        Self::new(DialFailure::Resolve, report, cause)
    }

    pub(crate) fn no_addresses(report: Report) -> Self {
        let cause = Classified::new(ConnectErrorKind::Dns)
            .because(io::Error::from(io::ErrorKind::NotFound));
        Self::new(DialFailure::NoAddresses, report, cause)
    }

    pub(crate) fn blocked_by_policy(report: Report) -> Self {
        let cause = Classified::new(ConnectErrorKind::Blocked)
            .because(io::Error::from(io::ErrorKind::PermissionDenied));
        Self::new(DialFailure::Blocked, report, cause)
    }

    pub(crate) fn timed_out(report: Report) -> Self {
        let cause = Classified::new(ConnectErrorKind::TimedOut)
            .because(io::Error::from(io::ErrorKind::TimedOut));
        Self::new(DialFailure::TimedOut, report, cause)
    }

    pub(crate) fn unix_socket(path: PathBuf, error: io::Error, mut report: Report) -> Self {
        report.path = Some(path);
        let cause = Classified::new(ConnectErrorKind::of_io(&error)).because(error);
        Self::new(DialFailure::UnixSocket, report, cause)
    }

    /// The first of the attempts that tell most gives the kind and the source.
    pub(crate) fn all_failed(report: Report) -> Self {
        let mut told: Option<&FailedAttempt> = None;
        for failed in &report.failures {
            if told.is_none_or(|told| rank(told.kind) < rank(failed.kind)) {
                told = Some(failed);
            }
        }
        let cause = match told {
            Some(failed) => Classified::new(failed.kind).because(failed.clone()),
            None => Classified::new(ConnectErrorKind::Other),
        };
        Self::new(DialFailure::AllFailed, report, cause)
    }

    fn new(failure: DialFailure, report: Report, cause: Classified) -> Self {
        Self(Box::new(Inner {
            failure,
            report,
            cause,
        }))
    }

    /// What kind of failure it is, as metrics and pools name it. Of several attempts, the first of
    /// those that tell most counts: exhausted files or ports, then refused, timed out, others,
    /// unreachable.
    pub fn kind(&self) -> ConnectErrorKind {
        self.0.cause.kind()
    }

    /// The way in which the dial failed.
    pub fn failure(&self) -> DialFailure {
        self.0.failure
    }

    /// The host of the URI, lower case, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        &self.0.report.host
    }

    /// The port; 0 if there is none.
    pub fn port(&self) -> u16 {
        self.0.report.port
    }

    /// From the first poll of the dial to its failure.
    pub fn elapsed(&self) -> Duration {
        self.0.report.elapsed
    }

    /// How long name resolution took; `None` if there was none or it did not end.
    pub fn dns(&self) -> Option<Duration> {
        self.0.report.dns
    }

    /// Every attempt, in the order they were started. Those that the dial's own time limit ended
    /// count as timed out if they had a second or more, and else as pending.
    pub fn attempts(&self) -> &[Attempt] {
        &self.0.report.attempts
    }

    /// The errors of the attempts that ended by themselves, in the order they did.
    pub fn failures(
        &self,
    ) -> impl Iterator<Item = (SocketAddr, &(dyn Error + Send + Sync + 'static))> {
        let failures = self.0.report.failures.iter();
        failures.map(|failed| (failed.addr, &*failed.error))
    }

    /// The addresses that the policy forbade.
    pub fn blocked(&self) -> &[SocketAddr] {
        &self.0.report.blocked
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }
}

impl fmt::Debug for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DialError")
            .field("failure", &self.0.failure)
            .field("report", &self.0.report)
            .field("cause", &self.0.cause)
            .finish()
    }
}

impl Error for DialError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0.cause)
    }
}

/// One attempt's error, shared between the list of all and the chain of sources.
#[derive(Clone, Debug)]
pub(crate) struct FailedAttempt {
    addr: SocketAddr,
    kind: ConnectErrorKind,
    error: Arc<dyn Error + Send + Sync>,
}

impl FailedAttempt {
    pub(crate) fn new(addr: SocketAddr, kind: ConnectErrorKind, error: BoxError) -> Self {
        Self {
            addr,
            kind,
            error: error.into(),
        }
    }

    pub(crate) fn outcome(&self) -> AttemptOutcome {
        AttemptOutcome::Failed(self.kind)
    }
}

impl fmt::Display for FailedAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the attempt at {} failed", self.addr)
    }
}

impl Error for FailedAttempt {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.error)
    }
}
