//! The error.

use std::error::Error;
use std::time::Duration;
use std::{fmt, io};

use tollgate_core::{Attempt, Phase};

/// The connect was not over when its time was.
///
/// Its source is an [`io::Error`] of kind [`TimedOut`](io::ErrorKind::TimedOut), which is what
/// classifiers such as reqwest's `is_timeout` look for.
///
/// The message says what took too long, how long that was, how each attempt fared and what to
/// change.
#[derive(Debug)]
pub struct ConnectTimedOut {
    phase: Phase,
    of_phase: Option<Duration>,
    total: Duration,
    elapsed: Duration,
    attempts: Box<[Attempt]>,
    source: io::Error,
}

impl ConnectTimedOut {
    pub(crate) fn new(
        phase: Phase,
        of_phase: Option<Duration>,
        total: Duration,
        elapsed: Duration,
        attempts: Box<[Attempt]>,
    ) -> Self {
        Self {
            phase,
            of_phase,
            total,
            elapsed,
            attempts,
            source: io::ErrorKind::TimedOut.into(),
        }
    }

    /// The phase the connect was in; [`Phase::Connect`] if the connector did not report any.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The limit that was used up: the phase's, or else the [`total`](Self::total).
    pub fn limit(&self) -> Duration {
        self.of_phase.unwrap_or(self.total)
    }

    /// Whether it was the limit of the [`phase`](Self::phase), with some of the budget left.
    pub const fn is_phase_limit(&self) -> bool {
        self.of_phase.is_some()
    }

    /// The budget of the whole connect.
    pub const fn total(&self) -> Duration {
        self.total
    }

    /// How long it took, from the first poll.
    pub const fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Every attempt at an address that the connector reported, in the order of their starts.
    pub const fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }
}

impl fmt::Display for ConnectTimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connect timed out after {:?}", self.elapsed)?;
        if self.phase != Phase::Connect {
            write!(f, " in phase {}", self.phase.label())?;
        }
        match self.of_phase {
            Some(limit) => write!(f, ", which may take {limit:?} (budget {:?})", self.total)?,
            None => write!(
                f,
                ", the budget of the whole connect being {:?}",
                self.total
            )?,
        }
        for (i, attempt) in self.attempts.iter().enumerate() {
            f.write_str(if i == 0 { "; tried " } else { ", " })?;
            attempt.fmt(f)?;
        }
        write!(f, "; {}, or raise the limit", advice(self.phase))
    }
}

impl Error for ConnectTimedOut {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

fn advice(phase: Phase) -> &'static str {
    match phase {
        Phase::Dns => "check the name servers",
        Phase::Tcp => "check the address and whether a firewall drops its packets",
        Phase::Tls => "check that the port speaks TLS and that the peer is not overloaded",
        _ => "check what the connector waits for",
    }
}
