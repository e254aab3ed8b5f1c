//! The phase of a call in which a limit ran out.

use std::fmt;

/// The phase of a call in which a limit ran out: [`Error::phase`](crate::Error::phase).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallPhase {
    /// It waited for a connection to become free.
    Queue,
    /// It waited, and a connection to its origin was being opened.
    Connect,
    /// It was handed to a connection, and the head of the response had not come.
    Response,
    /// The head had come, and the body was not over.
    Body,
}

impl CallPhase {
    /// The phase's name in logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Connect => "connect",
            Self::Response => "response",
            Self::Body => "body",
        }
    }
}

impl fmt::Display for CallPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
