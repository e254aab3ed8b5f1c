//! Why a lookup failed.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use tollgate_core::BoxError;
use tollgate_core::error::find;

/// A lookup failed.
///
/// Cloning shares it: everyone who waited for the same lookup gets the same error. The chain of
/// sources of a [`LookupErrorKind::TimedOut`] ends in an `io::Error` of kind `TimedOut`.
#[derive(Clone)]
pub struct LookupError(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: LookupErrorKind,
    host: Arc<str>,
    elapsed: Duration,
    stale_was_available: bool,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What kind of failure a [`LookupError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LookupErrorKind {
    /// The name does not exist, or has no addresses. This is an answer: it replaces older ones
    /// and is cached as such.
    NotFound {
        /// How long that holds, if the resolver says so.
        ttl: Option<Duration>,
    },
    /// It may work next time: a server failure, a lost packet, a broken answer.
    Transient,
    /// No answer in time.
    TimedOut,
    /// Too many lookups are under way already; nothing was sent.
    Overloaded,
    /// The name cannot be looked up: an empty or overlong label, or a character that no name has.
    InvalidName,
    /// A policy below the cache forbids the name or its addresses.
    Blocked,
}

impl LookupErrorKind {
    /// The kind's name in metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::Transient => "transient",
            Self::TimedOut => "timeout",
            Self::Overloaded => "overloaded",
            Self::InvalidName => "invalid_name",
            Self::Blocked => "blocked",
        }
    }
}

impl LookupError {
    /// An error of this kind, for backends. The cache fills in the host and the time.
    pub fn new(kind: LookupErrorKind) -> Self {
        let timed_out = || Arc::new(io::Error::from(io::ErrorKind::TimedOut)) as _;
        Self(Arc::new(Inner {
            kind,
            host: Arc::from(""),
            elapsed: Duration::ZERO,
            stale_was_available: false,
            source: (kind == LookupErrorKind::TimedOut).then(timed_out),
        }))
    }

    /// The same error with what caused it.
    #[must_use]
    pub fn with_source(self, source: impl Into<BoxError>) -> Self {
        self.change(|inner| inner.source = Some(Arc::from(source.into())))
    }

    /// A backend's error: its own [`LookupError`] if it is one, else timed out if its chain of
    /// sources says so, else transient.
    pub fn from_backend(error: impl Into<BoxError>) -> Self {
        let error = match error.into().downcast::<Self>() {
            Ok(own) => return *own,
            Err(error) => error,
        };
        let timed_out = find::<tokio::time::error::Elapsed>(&*error).is_some()
            || find::<io::Error>(&*error).is_some_and(|e| e.kind() == io::ErrorKind::TimedOut);
        Self::new(if timed_out {
            LookupErrorKind::TimedOut
        } else {
            LookupErrorKind::Transient
        })
        .with_source(error)
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> LookupErrorKind {
        self.0.kind
    }

    /// Whether the name does not exist or has no addresses.
    pub fn is_not_found(&self) -> bool {
        matches!(self.0.kind, LookupErrorKind::NotFound { .. })
    }

    /// The name that was looked up.
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// How long the lookup took to fail; zero if nothing was asked.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed
    }

    /// Whether the cache knew an older answer, which was too old to be used or was overtaken by
    /// the name's disappearance.
    pub fn stale_was_available(&self) -> bool {
        self.0.stale_was_available
    }

    pub(crate) fn of(self, host: Arc<str>, elapsed: Duration) -> Self {
        self.change(|inner| {
            inner.host = host;
            inner.elapsed = elapsed;
        })
    }

    pub(crate) fn with_stale(self, available: bool) -> Self {
        self.change(|inner| inner.stale_was_available = available)
    }

    fn change(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

impl fmt::Debug for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LookupError")
            .field("kind", &self.0.kind)
            .field("host", &self.0.host)
            .field("elapsed", &self.0.elapsed)
            .field("stale_was_available", &self.0.stale_was_available)
            .field("source", &self.0.source)
            .finish()
    }
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, host, .. } = &*self.0;
        match kind {
            LookupErrorKind::NotFound { .. } => write!(f, "{host} was not found"),
            LookupErrorKind::Transient => write!(f, "looking up {host} failed"),
            LookupErrorKind::TimedOut => {
                write!(f, "looking up {host} timed out after {:?}", self.0.elapsed)
            }
            LookupErrorKind::Overloaded => {
                write!(
                    f,
                    "{host} was not looked up, too many lookups are under way"
                )
            }
            LookupErrorKind::InvalidName => write!(f, "{host:?} is not a host name"),
            LookupErrorKind::Blocked => write!(f, "{host} is blocked"),
        }
    }
}

impl Error for LookupError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// A pair of limits whose lower one is above the upper one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidBounds {
    option: &'static str,
    min: Duration,
    max: Duration,
}

impl InvalidBounds {
    pub(crate) fn check(option: &'static str, min: Duration, max: Duration) -> Result<(), Self> {
        (min <= max).then_some(()).ok_or(Self { option, min, max })
    }
}

impl fmt::Display for InvalidBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { option, min, max } = self;
        write!(
            f,
            "{option}: the minimum {min:?} is above the maximum {max:?}"
        )
    }
}

impl Error for InvalidBounds {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_out_ends_in_an_io_error_that_classifiers_know() {
        let error = LookupError::new(LookupErrorKind::TimedOut);
        let source = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
        assert_eq!(source.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_backend_error_keeps_its_kind_or_gets_one() {
        let own = LookupError::new(LookupErrorKind::Blocked);
        assert_eq!(
            LookupError::from_backend(own).kind(),
            LookupErrorKind::Blocked
        );
        let late = io::Error::from(io::ErrorKind::TimedOut);
        assert_eq!(
            LookupError::from_backend(late).kind(),
            LookupErrorKind::TimedOut
        );
        assert_eq!(
            LookupError::from_backend("no").kind(),
            LookupErrorKind::Transient
        );
    }

    #[test]
    fn messages_name_the_host() {
        let of = |kind| LookupError::new(kind).of("a.test".into(), Duration::from_secs(5));
        assert_eq!(
            of(LookupErrorKind::TimedOut).to_string(),
            "looking up a.test timed out after 5s"
        );
        assert_eq!(
            of(LookupErrorKind::NotFound { ttl: None }).to_string(),
            "a.test was not found"
        );
    }
}
