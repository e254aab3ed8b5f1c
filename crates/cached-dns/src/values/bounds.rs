//! Limits that contradict each other.

use std::error::Error;
use std::fmt;
use std::time::Duration;

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
