//! How a probe behaves, and the error it fails with.

use std::fmt;

use crate::gate::Gate;

/// The error of a [`Probe`](super::Probe), which a layer passes on as itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProbeError {
    /// From a call.
    InCall,
    /// From `poll_ready`.
    InPollReady,
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InCall => "the probe was told to fail in call",
            Self::InPollReady => "the probe was told to fail in poll_ready",
        })
    }
}

impl std::error::Error for ProbeError {}

/// The course of one call of a probe.
#[derive(Clone, Debug)]
#[must_use = "an act is what a script returns"]
pub struct Act {
    pub(super) gate: Option<Gate>,
    pub(super) end: End,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Answer,
    Fail,
    Hang,
    Panic,
    PanicInCall,
}

impl Act {
    const fn ends(end: End) -> Self {
        Self { gate: None, end }
    }

    /// It answers.
    pub const fn answer() -> Self {
        Self::ends(End::Answer)
    }

    /// It fails with [`ProbeError::InCall`].
    pub const fn fail() -> Self {
        Self::ends(End::Fail)
    }

    /// It never ends.
    pub const fn hang() -> Self {
        Self::ends(End::Hang)
    }

    /// Its future panics.
    pub const fn panic() -> Self {
        Self::ends(End::Panic)
    }

    /// `call` itself panics.
    pub const fn panic_in_call() -> Self {
        Self::ends(End::PanicInCall)
    }

    /// After the gate let it through.
    pub fn when(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }
}

/// The result of a probe's `poll_ready`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Readiness {
    /// Ready at once.
    Now,
    /// Ready when the gate lets it through: each clone by itself, and anew for each call.
    When(Gate),
    /// [`ProbeError::InPollReady`].
    Fails,
}

/// A moment in which a probe runs, and so the code of a user would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Moment {
    /// In `poll_ready`.
    PollReady,
    /// In `call`.
    Call,
    /// In the poll that ends a call.
    Answer,
    /// In the drop of a call's future.
    Drop,
}
