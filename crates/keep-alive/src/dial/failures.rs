//! How a dial fails beside its connector.

use std::fmt;
use std::io;
use std::time::Duration;

use tollgate_core::Phase;

/// A connection was not open within the time that was left for it: the connector's budget and then
/// what that left for the peer's first word of HTTP/2, or the pool's own limit on both.
///
/// Its source is an [`io::Error`] of kind [`TimedOut`](io::ErrorKind::TimedOut).
#[derive(Debug)]
pub struct OpenTimedOut {
    phase: Phase,
    took: Duration,
    /// Where the chain of sources ends, for classifiers that look for the kind.
    timed_out: io::Error,
}

impl OpenTimedOut {
    pub(super) fn new(phase: Phase, took: Duration) -> Self {
        Self {
            phase,
            took,
            timed_out: io::ErrorKind::TimedOut.into(),
        }
    }

    /// Where it stood: [`Phase::Preface`] if the peer never began HTTP/2, else what the connector
    /// said last.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// How long it took, from the start of the dial.
    pub const fn elapsed(&self) -> Duration {
        self.took
    }
}

impl fmt::Display for OpenTimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (took, phase) = (self.took, self.phase.label());
        write!(f, "no connection after {took:?}, in phase {phase}; ")?;
        f.write_str(match self.phase {
            Phase::Preface => "check that the peer speaks HTTP/2, or raise connect_timeout",
            _ => "raise connect_timeout, or look at the path",
        })
    }
}

impl std::error::Error for OpenTimedOut {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.timed_out)
    }
}

/// The connector agreed on HTTP/2 with the peer, which this pool does not speak.
#[derive(Debug)]
pub(super) struct NotHttp1;

impl fmt::Display for NotHttp1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connector negotiated HTTP/2 for a pool that speaks HTTP/1.1 only; offer only http/1.1 by ALPN, or let the pool speak both")
    }
}

impl std::error::Error for NotHttp1 {}

/// A dial ended with the runtime that it ran on, or found none.
#[derive(Debug)]
pub(super) struct Abandoned;

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the tokio runtime of this dial ended before the dial did; whoever waits dials anew on its own")
    }
}

impl std::error::Error for Abandoned {}
