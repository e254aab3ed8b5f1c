//! The facts about a dial: addresses, times, attempts.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::reason::ConnectErrorKind;
use crate::rounded::Rounded;

/// The course of a dial: a connector puts it into the connection's
/// `hyper_util::client::legacy::connect::Connected` with `extra`, and the pool above reads it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DialInfo {
    /// The address that answered.
    pub remote: Option<SocketAddr>,
    /// The local end.
    pub local: Option<SocketAddr>,
    /// Name resolution; `None` for a literal address.
    pub dns: Option<Duration>,
    /// From the first attempt to the connected socket.
    pub connect: Option<Duration>,
    /// The TLS handshake; `None` for plain connections.
    pub tls: Option<Duration>,
    /// Every attempt, in the order they were started.
    pub attempts: Arc<[Attempt]>,
}

/// One attempt at one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// The address tried.
    pub addr: SocketAddr,
    /// The time at which it was started, counted from the start of the dial.
    pub started_after: Duration,
    /// Its outcome.
    pub outcome: AttemptOutcome,
}

impl Attempt {
    /// An attempt that has just been started.
    pub const fn started(addr: SocketAddr, started_after: Duration) -> Self {
        Self {
            addr,
            started_after,
            outcome: AttemptOutcome::Pending,
        }
    }

    /// The same attempt with its outcome.
    #[must_use]
    pub const fn ended(mut self, outcome: AttemptOutcome) -> Self {
        self.outcome = outcome;
        self
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.addr.fmt(f)?;
        // Zero is the start of the dial: "after 0ns" would only be noise in the message.
        if !self.started_after.is_zero() {
            write!(f, " after {}", Rounded(self.started_after))?;
        }
        f.write_str(": ")?;
        match self.outcome {
            AttemptOutcome::Pending => f.write_str("no answer"),
            AttemptOutcome::Connected => f.write_str("connected"),
            AttemptOutcome::Abandoned => f.write_str("given up, another was faster"),
            AttemptOutcome::Failed(kind) => kind.fmt(f),
        }
    }
}

/// The outcome of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttemptOutcome {
    /// It has not ended.
    Pending,
    /// It won.
    Connected,
    /// Another one won first. That is not a failure of this address.
    Abandoned,
    /// It failed.
    Failed(ConnectErrorKind),
}
