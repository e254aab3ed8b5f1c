//! How a dial goes.

use std::io;
use std::time::Duration;

use http::Uri;

use crate::gate::Gate;

/// A dial, as the script sees it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Dial {
    /// Which dial of this connector, from 0.
    pub nth: usize,
    /// The URI it was called with.
    pub uri: Uri,
}

/// The course of one dial: first the waits, then the end.
#[derive(Clone, Debug)]
#[must_use = "a plan is what a script returns"]
pub struct Plan {
    pub(super) delay: Duration,
    pub(super) gate: Option<Gate>,
    pub(super) end: End,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Connect,
    Fail(io::ErrorKind),
    Hang,
    Panic,
    PanicInCall,
}

impl Plan {
    const fn ends(end: End) -> Self {
        Self {
            delay: Duration::ZERO,
            gate: None,
            end,
        }
    }

    /// It connects.
    pub const fn connect() -> Self {
        Self::ends(End::Connect)
    }

    /// It fails with an error of this kind.
    pub const fn fail(kind: io::ErrorKind) -> Self {
        Self::ends(End::Fail(kind))
    }

    /// It never ends.
    pub const fn hang() -> Self {
        Self::ends(End::Hang)
    }

    /// Its future panics.
    pub const fn panic() -> Self {
        Self::ends(End::Panic)
    }

    /// The call itself panics, before there is a future.
    pub const fn panic_in_call() -> Self {
        Self::ends(End::PanicInCall)
    }

    /// After this much of tokio's time.
    pub const fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// After the gate let it through.
    pub fn when(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }
}
