//! A resolver that could not be made.

use std::error::Error;
use std::fmt;

use tollgate_core::BoxError;

/// The reason why there is no [`Hickory`](super::Hickory): nameservers or a search list that cannot
/// be used.
#[derive(Debug)]
pub struct HickoryError {
    what: &'static str,
    source: Option<BoxError>,
}

impl HickoryError {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, source: None }
    }

    pub(super) fn because(what: &'static str, source: impl Into<BoxError>) -> Self {
        Self {
            what,
            source: Some(source.into()),
        }
    }
}

impl fmt::Display for HickoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

impl Error for HickoryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
