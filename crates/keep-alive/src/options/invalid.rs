//! The refusal of an option.

use std::error::Error;
use std::fmt;

/// An option whose value makes no sense.
///
/// The message names the option and the value to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidOption {
    name: &'static str,
    why: Why,
    advice: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Zero,
    Above,
    Conflict,
}

impl InvalidOption {
    pub(crate) const fn zero(name: &'static str, advice: &'static str) -> Self {
        Self {
            name,
            why: Why::Zero,
            advice,
        }
    }

    pub(crate) const fn above(name: &'static str, advice: &'static str) -> Self {
        Self {
            name,
            why: Why::Above,
            advice,
        }
    }

    pub(crate) const fn conflict(name: &'static str, advice: &'static str) -> Self {
        Self {
            name,
            why: Why::Conflict,
            advice,
        }
    }

    /// Returns the name of the option.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns true if the value is zero where that makes no sense.
    pub const fn is_zero(&self) -> bool {
        matches!(self.why, Why::Zero)
    }

    /// Returns true if the value contradicts another option, which the advice names.
    pub const fn is_conflict(&self) -> bool {
        matches!(self.why, Why::Conflict)
    }

    /// Returns the value to write instead.
    pub const fn advice(&self) -> &'static str {
        self.advice
    }
}

impl fmt::Display for InvalidOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.why {
            Why::Zero => "is 0",
            Why::Above => "is too large",
            Why::Conflict => "conflicts with another option",
        };
        write!(f, "{} {what}: {}", self.name, self.advice)
    }
}

impl Error for InvalidOption {}
