//! The error of a build.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use tollgate_core::BoxError;
use tollgate_keep_alive::InvalidOption;

/// The configuration of a client makes no sense; nothing was started.
///
/// The message names the option, what is wrong with it and what to write instead.
#[derive(Debug)]
pub struct BuildError {
    field: Cow<'static, str>,
    kind: BuildErrorKind,
    advice: &'static str,
    source: Option<BoxError>,
}

/// The way in which an option is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BuildErrorKind {
    /// It is zero, which means neither "none" nor "unlimited" here.
    Zero,
    /// It is above another option that bounds it.
    AboveLimit,
    /// It cannot be combined with another option.
    Conflict,
    /// It cannot be read: an origin that is none, a certificate or key that cannot be parsed.
    Invalid,
}

impl BuildError {
    pub(crate) const fn zero(field: &'static str, advice: &'static str) -> Self {
        Self::new(field, BuildErrorKind::Zero, advice)
    }

    /// Refuses an option of the pool; `prefix` stands before the names of one origin's options.
    pub(crate) fn option(prefix: &'static str, error: InvalidOption) -> Self {
        let kind = if error.is_zero() {
            BuildErrorKind::Zero
        } else if error.is_conflict() {
            BuildErrorKind::Conflict
        } else {
            BuildErrorKind::AboveLimit
        };
        Self {
            field: Cow::Owned(format!("{prefix}{}", error.name())),
            ..Self::new(error.name(), kind, error.advice())
        }
    }

    pub(crate) const fn conflict(field: &'static str, advice: &'static str) -> Self {
        Self::new(field, BuildErrorKind::Conflict, advice)
    }

    pub(crate) fn invalid(field: &'static str, source: impl Into<BoxError>) -> Self {
        let source = Some(source.into());
        Self {
            source,
            ..Self::new(field, BuildErrorKind::Invalid, "it cannot be used")
        }
    }

    const fn new(field: &'static str, kind: BuildErrorKind, advice: &'static str) -> Self {
        Self {
            field: Cow::Borrowed(field),
            kind,
            advice,
            source: None,
        }
    }

    /// Returns the name of the option: that of the builder's method, after `origin.` if it is of one
    /// origin.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// Returns the way in which it is wrong.
    pub const fn kind(&self) -> BuildErrorKind {
        self.kind
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.field)?;
        f.write_str(match self.kind {
            BuildErrorKind::Zero => " is 0: ",
            BuildErrorKind::AboveLimit => " is too large: ",
            BuildErrorKind::Conflict => " conflicts with another option: ",
            BuildErrorKind::Invalid => " is not valid: ",
        })?;
        match &self.source {
            Some(source) => source.fmt(f),
            None => f.write_str(self.advice),
        }
    }
}

impl Error for BuildError {
    /// The error that the option met, whose words are in `Display` as well.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
