//! The error of a dial.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tollgate_core::{
    Attempt, AttemptOutcome, BoxError, Classified, ConnectErrorKind, NotEncrypted,
};

use crate::attempt::AttemptError;
use crate::classify::rank;
use crate::target::Refusal;

pub(crate) const UNENCRYPTED: NotEncrypted = NotEncrypted::new(
    "put a TLS layer over Dial (TlsOptions::layer), and if it is not Tollgate's, such as hyper-rustls', say DialLayer::below_tls",
);

/// The failure of a dial: its kind, where to, after how long, and each attempt.
///
/// Its chain of sources holds a [`Classified`], so [`ConnectErrorKind::of`] works on it from afar,
/// and ends in the resolver's error, in the `io::Error` of the attempt that tells most, or in an
/// `io::Error` of kind `TimedOut`, `PermissionDenied` (blocked), `NotFound` (no addresses) or
/// `InvalidInput` (the URI), or in a [`NotEncrypted`].
pub struct DialError(Box<Inner>);

pub(crate) struct Inner {
    pub(crate) failure: DialFailure,
    pub(crate) report: Report,
    cause: Classified,
}

/// The facts about a dial that its error gives.
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
    /// Addresses were still to come.
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
    /// The URI names no host, no usable port, or a scheme other than `http` and `https`.
    InvalidUri,
    /// The URI's scheme is `https`, and no TLS layer above has asked for the connection: see
    /// [`DialLayer::below_tls`](crate::DialLayer::below_tls).
    Unencrypted,
    /// The resolver failed.
    Resolve,
    /// The resolver's answer was empty, or had no address of the one family that a local address
    /// was given for.
    NoAddresses,
    /// The address policy forbids every address.
    Blocked,
    /// The time for the whole dial was over.
    Timeout,
    /// Every attempt failed.
    AllFailed,
    /// The Unix socket that the host leads to could not be connected to.
    UnixSocket,
}

impl DialError {
    pub(crate) fn refused(why: Refusal, report: Report) -> Self {
        match why {
            Refusal::Invalid(why) => Self::invalid_uri(why, report),
            Refusal::Unencrypted => {
                let cause = Classified::new(ConnectErrorKind::Tls).because(UNENCRYPTED);
                Self::new(DialFailure::Unencrypted, report, cause)
            }
        }
    }

    fn invalid_uri(why: &'static str, report: Report) -> Self {
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
        let cause = Classified::new(ConnectErrorKind::Timeout)
            .because(io::Error::from(io::ErrorKind::TimedOut));
        Self::new(DialFailure::Timeout, report, cause)
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

    /// The kind of failure, as metrics and pools name it. Of several attempts, the first of the most
    /// telling kind counts: exhausted files or ports, then refused, timed out, others,
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

    /// The time that name resolution took; `None` if there was none or it did not end.
    pub fn dns(&self) -> Option<Duration> {
        self.0.report.dns
    }

    /// Every attempt, in the order they were started. Those that the dial's own time limit ended
    /// count as timed out if they had their chance, and else as pending.
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
        // Its address is in the list of the dial's own message.
        match self.error.downcast_ref::<AttemptError>() {
            Some(error) => f.write_str(error.what()),
            None => f.write_str("the attempt failed"),
        }
    }
}

impl Error for FailedAttempt {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self.error.downcast_ref::<AttemptError>() {
            // Past the `AttemptError`, whose text this one has shown: it would stand twice in the
            // chain.
            Some(error) => error.source(),
            None => Some(&*self.error),
        }
    }
}
