//! Why a lookup failed.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use tollgate_core::error::find;
use tollgate_core::{BoxError, Rounded};

/// A lookup failed.
///
/// Cloning shares it: everyone who waited for the same lookup gets the same error. The chain of
/// sources of a [`LookupErrorKind::Timeout`] ends in an `io::Error` of kind `TimedOut`.
#[derive(Clone)]
pub struct LookupError(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: LookupErrorKind,
    host: Arc<str>,
    elapsed: Duration,
    stale_was_available: bool,
    source: Option<Arc<dyn Error + Send + Sync>>,
    rests_on: Option<RestsOn>,
    unconfirmed: bool,
}

/// A file that failures rest on, as `resolv.conf`: with other name servers the name may be found.
pub(crate) trait Basis: Send + Sync {
    /// Grows with each change.
    fn generation(&self) -> u64;

    /// Looks for a change in the background, if the last look is some time ago.
    fn look(self: Arc<Self>);
}

#[derive(Clone)]
struct RestsOn {
    files: Arc<[Arc<dyn Basis>]>,
    /// The sum of the generations at the time of the failure.
    generation: u64,
}

fn generation(files: &[Arc<dyn Basis>]) -> u64 {
    // Generations only grow, so two states of the files never have the same sum.
    files.iter().map(|file| file.generation()).sum()
}

/// The kind of failure of a [`LookupError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LookupErrorKind {
    /// The name does not exist, or has no addresses. This is an answer: it replaces older ones
    /// and is cached as such.
    NotFound {
        /// The time that that holds, if the resolver reports it.
        ttl: Option<Duration>,
    },
    /// It may work next time: a server failure, a lost packet, a broken answer.
    Transient,
    /// No answer in time.
    Timeout,
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
            Self::Timeout => "timeout",
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
            source: (kind == LookupErrorKind::Timeout).then(timed_out),
            rests_on: None,
            unconfirmed: false,
        }))
    }

    /// The same error with what caused it.
    #[must_use]
    pub fn with_source(self, source: impl Into<BoxError>) -> Self {
        self.change(|inner| inner.source = Some(Arc::from(source.into())))
    }

    /// A backend's error: its own [`LookupError`] if it is one, else timed out if its chain of
    /// sources is, else transient.
    pub fn from_backend(error: impl Into<BoxError>) -> Self {
        let error = match error.into().downcast::<Self>() {
            Ok(own) => return *own,
            Err(error) => error,
        };
        // Both are looked for: tokio's `Elapsed` has no `io::Error` among its sources.
        let timed_out = find::<tokio::time::error::Elapsed>(&*error).is_some()
            || find::<io::Error>(&*error).is_some_and(|e| e.kind() == io::ErrorKind::TimedOut);
        Self::new(if timed_out {
            LookupErrorKind::Timeout
        } else {
            LookupErrorKind::Transient
        })
        .with_source(error)
    }

    /// Returns the kind of failure.
    pub fn kind(&self) -> LookupErrorKind {
        self.0.kind
    }

    /// Returns true if the name does not exist or has no addresses.
    pub fn is_not_found(&self) -> bool {
        matches!(self.0.kind, LookupErrorKind::NotFound { .. })
    }

    /// The name that was looked up.
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// Returns the time that the lookup took to fail; zero if nothing was asked.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed
    }

    /// Returns true if the cache knew an older answer, which was too old to be used or was
    /// overtaken by the name's disappearance.
    pub fn stale_was_available(&self) -> bool {
        self.0.stale_was_available
    }

    /// "Not found" from a resolver that also returns it when it cannot ask.
    pub(crate) fn unconfirmed(self) -> Self {
        self.change(|inner| inner.unconfirmed = true)
    }

    pub(crate) fn is_unconfirmed(&self) -> bool {
        self.0.unconfirmed
    }

    /// The failure is void once one of these has changed.
    pub(crate) fn resting_on(self, files: &Arc<[Arc<dyn Basis>]>) -> Self {
        let rests_on = RestsOn {
            files: Arc::clone(files),
            generation: generation(files),
        };
        self.change(|inner| inner.rests_on = Some(rests_on))
    }

    /// Returns true if what the failure rests on has changed since.
    pub(crate) fn is_outdated(&self) -> bool {
        let rests_on = self.0.rests_on.as_ref();
        rests_on.is_some_and(|rests_on| generation(&rests_on.files) != rests_on.generation)
    }

    /// Has what the failure rests on looked at, in the background and not too often.
    pub(crate) fn look_again(&self) {
        let files = self
            .0
            .rests_on
            .iter()
            .flat_map(|rests_on| rests_on.files.iter());
        files.for_each(|file| Arc::clone(file).look());
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
        // A copy where it is shared: those that were given the error before keep theirs.
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
            LookupErrorKind::Timeout => {
                let elapsed = Rounded(self.0.elapsed);
                write!(f, "looking up {host} timed out after {elapsed}")
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

#[cfg(test)]
mod tests;
