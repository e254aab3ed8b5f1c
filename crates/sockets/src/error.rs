//! A reading of the kernel's tables that failed.

use std::error::Error;
use std::{fmt, io};

/// A reading of the kernel's tables that failed.
#[derive(Debug)]
pub struct SocketsError {
    kind: SocketsErrorKind,
    what: &'static str,
    source: Option<io::Error>,
}

/// The kind of a [`SocketsError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketsErrorKind {
    /// This system is not Linux.
    Unsupported,
    /// The kernel, or a sandbox around the process, does not let it be read.
    Unreadable,
}

impl SocketsError {
    #[cfg(not(target_os = "linux"))]
    pub(crate) const fn unsupported(what: &'static str) -> Self {
        Self {
            kind: SocketsErrorKind::Unsupported,
            what,
            source: None,
        }
    }

    #[cfg(target_os = "linux")]
    pub(crate) const fn unreadable(what: &'static str, source: io::Error) -> Self {
        Self {
            kind: SocketsErrorKind::Unreadable,
            what,
            source: Some(source),
        }
    }

    /// The kind.
    pub const fn kind(&self) -> SocketsErrorKind {
        self.kind
    }
}

impl fmt::Display for SocketsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, .. } = self;
        match self.kind {
            SocketsErrorKind::Unsupported => write!(f, "{what} can be read on Linux only"),
            SocketsErrorKind::Unreadable => write!(f, "{what} cannot be read"),
        }
    }
}

impl Error for SocketsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
