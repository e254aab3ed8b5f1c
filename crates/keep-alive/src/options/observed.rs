//! The observer of a pool.

use std::fmt;
use std::sync::Arc;

use tollgate_core::Observer;

/// An observer, for a configuration that derives `Debug`.
#[derive(Clone)]
pub(crate) struct Observed(pub(crate) Arc<dyn Observer>);

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
