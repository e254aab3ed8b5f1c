//! The values that go into the machine and come out of it.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::values::error::LookupError;

/// The times that a lookup goes by.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Times {
    /// From asking a server to asking the next one as well.
    pub(in super::super) hedge: Duration,
    /// The time after which a server without a reply counts as failed.
    pub(in super::super) silence: Duration,
    /// The time after which no reply to a question is waited for.
    pub(in super::super) limit: Duration,
    /// The wait for the second address family once the first has addresses (RFC 8305 §3).
    pub(in super::super) resolution_delay: Duration,
    /// The time that the second family may be late.
    pub(in super::super) late_limit: Duration,
}

/// A server's place in one lookup; the places are in the configured order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Seat {
    /// The server's index in the setup.
    pub(in super::super) server: usize,
    /// It failed a short time ago: asked after the others.
    pub(in super::super) demoted: bool,
    /// It failed by silence: a negative reply of a later server does not wait for it.
    pub(in super::super) silent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Family {
    V4,
    V6,
}

/// A query to be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Ask {
    /// The index of the name among the candidates.
    pub(in super::super) candidate: usize,
    pub(in super::super) family: Family,
    /// The server's index in the setup.
    pub(in super::super) server: usize,
}

/// A server's reply to one query.
#[derive(Clone, Debug)]
pub(in super::super) enum Reply {
    Found(Found),
    /// The name exists without addresses of this family.
    NoData(Option<Duration>),
    /// NXDOMAIN: the name does not exist.
    NoName(Option<Duration>),
    Failed(Failure, LookupError),
}

/// Addresses, of one family or both, and their time to live.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Found {
    pub(in super::super) ips: Vec<IpAddr>,
    pub(in super::super) ttl: Duration,
}

/// The ways in which a server fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Failure {
    /// No reply: a timeout, a closed port, no route, an answer that cannot be read.
    Silent,
    /// A reply that is no answer: SERVFAIL, REFUSED, a lame referral. The next name of the search
    /// list may fare better.
    Replied,
}

/// The end of a lookup, or of its first part.
#[derive(Clone, Debug)]
pub(in super::super) enum Outcome {
    Found {
        found: Found,
        /// Both families have been answered.
        complete: bool,
        /// The lookup goes on: the second family may still come.
        pending: bool,
    },
    NotFound(Option<Duration>),
    Failed(LookupError),
    /// The second family did not come, or brought no address.
    Over,
}

/// The next steps.
#[derive(Debug, Default)]
pub(in super::super) struct Step {
    pub(in super::super) asks: Vec<Ask>,
    /// Servers that have just been silent for too long.
    pub(in super::super) silent: Vec<usize>,
    pub(in super::super) outcome: Option<Outcome>,
    /// The next step is due at this time, or after a reply.
    pub(in super::super) wake: Option<Instant>,
}
