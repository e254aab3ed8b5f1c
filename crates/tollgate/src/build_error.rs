//! Why a client could not be built.

use std::error::Error;
use std::fmt;

use tollgate_core::BoxError;

/// The configuration of a client makes no sense; nothing was started.
///
/// The message names the option, says what is wrong with it and what to write instead.
#[derive(Debug)]
pub struct BuildError {
    field: &'static str,
    kind: BuildErrorKind,
    advice: &'static str,
    source: Option<BoxError>,
}

/// What is wrong with an option.
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

    pub(crate) const fn above(field: &'static str, advice: &'static str) -> Self {
        Self::new(field, BuildErrorKind::AboveLimit, advice)
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
            field,
            kind,
            advice,
            source: None,
        }
    }

    /// The option, named as the builder's method.
    pub const fn field(&self) -> &'static str {
        self.field
    }

    /// What is wrong with it.
    pub const fn kind(&self) -> BuildErrorKind {
        self.kind
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.field)?;
        f.write_str(match self.kind {
            BuildErrorKind::Zero => " is 0: ",
            BuildErrorKind::AboveLimit => " is too large: ",
            BuildErrorKind::Conflict => " conflicts with another option: ",
            BuildErrorKind::Invalid => " is not valid: ",
        })?;
        f.write_str(self.advice)
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
