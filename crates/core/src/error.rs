//! The search through an error's chain of sources.
//!
//! Layers keep their own concrete errors and pass those of the service below through unchanged, so
//! what a caller holds is a [`BoxError`] with the interesting part somewhere inside.

use std::error::Error;
use std::iter::successors;

/// The error of layers that add one of their own, as `tower` does.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The error and its sources, outermost first.
///
/// An `io::Error` made from another error hides that one from [`Error::source`] (it shows only
/// what lies below); this chain shows it.
pub fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |error| below(*error))
}

/// The first error of type `E` in the chain.
///
/// ```
/// # use tollgate_core::error::find;
/// let error = std::io::Error::other("5".parse::<bool>().unwrap_err());
/// assert!(find::<std::str::ParseBoolError>(&error).is_some());
/// ```
pub fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    chain(error).find_map(|error| error.downcast_ref())
}

fn below<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let wrapped = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    match wrapped {
        // Its own `source` is that of the inner error, which would be skipped.
        Some(inner) => Some(inner),
        None => error.source(),
    }
}
