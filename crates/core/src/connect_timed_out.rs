//! The error of a connect that took too long.

use std::error::Error;
use std::time::Duration;
use std::{fmt, io};

use crate::{Attempt, Phase, Rounded};

/// The error of a connect that was not over within its budget, or within the limit of a phase: of a
/// connect timeout, and of a pool that limits its dials.
///
/// Its source is an [`io::Error`] of kind [`TimedOut`](io::ErrorKind::TimedOut), which is what
/// classifiers such as reqwest's `is_timeout` look for.
///
/// The message names what took too long, how long that was, how each attempt fared and what to
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
    /// Makes the error of a connect that used up its `total` budget, and was in `phase` then.
    pub fn new(phase: Phase, total: Duration, elapsed: Duration) -> Self {
        Self {
            phase,
            of_phase: None,
            total,
            elapsed,
            attempts: Box::default(),
            source: io::ErrorKind::TimedOut.into(),
        }
    }

    /// It was the limit of the phase that was used up, if there is one.
    #[must_use]
    pub const fn with_phase_limit(mut self, limit: Option<Duration>) -> Self {
        self.of_phase = limit;
        self
    }

    /// Adds the attempts at addresses, in the order of their starts.
    #[must_use]
    pub fn with_attempts(mut self, attempts: Vec<Attempt>) -> Self {
        self.attempts = attempts.into();
        self
    }

    /// The phase the connect was in: [`Phase::Connect`] if the connector did not report any,
    /// [`Phase::Preface`] if the peer never began HTTP/2.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The limit that was used up: the phase's, or else the [`total`](Self::total).
    pub fn limit(&self) -> Duration {
        self.of_phase.unwrap_or(self.total)
    }

    /// Returns true if it was the limit of the [`phase`](Self::phase), with some of the budget
    /// left.
    pub const fn is_phase_limit(&self) -> bool {
        self.of_phase.is_some()
    }

    /// The budget of the whole connect.
    pub const fn total(&self) -> Duration {
        self.total
    }

    /// Returns the time that it took, from its start.
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
        write!(f, "connect timed out after {}", Rounded(self.elapsed))?;
        // A connector that reports no phase has none to name.
        if self.phase != Phase::Connect {
            write!(f, " in phase {}", self.phase.label())?;
        }
        let total = Rounded(self.total);
        let limit = if let Some(limit) = self.of_phase {
            let limit = Rounded(limit);
            write!(f, ", which may take {limit} (budget {total})")?;
            // The one that was used up is to be raised: a larger budget would change nothing here.
            "the limit of the phase"
        } else {
            write!(f, ", the budget of the whole connect being {total}")?;
            "the connect timeout"
        };
        for (i, attempt) in self.attempts.iter().enumerate() {
            f.write_str(if i == 0 { "; tried " } else { ", " })?;
            attempt.fmt(f)?;
        }
        write!(f, "; {}, or raise {limit}", self.phase.advice())
    }
}

impl Error for ConnectTimedOut {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}
