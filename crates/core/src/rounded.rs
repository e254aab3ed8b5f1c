//! Times in messages.

use std::fmt;
use std::time::Duration;

/// A time for people, in three or four digits: microseconds below a millisecond, then milliseconds,
/// then tenths of a second from ten seconds on.
///
/// ```
/// # use std::time::Duration;
/// # use tollgate_core::Rounded;
/// assert_eq!(Rounded(Duration::from_nanos(301_355_094)).to_string(), "301ms");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a wrapper for display")]
pub struct Rounded(pub Duration);

impl Rounded {
    /// Returns the rounded time.
    pub const fn duration(self) -> Duration {
        let nanos = self.0.as_nanos();
        let unit = match nanos {
            // Below a microsecond nothing is cut off.
            0..1_000 => return self.0,
            1_000..1_000_000 => 1_000,
            1_000_000..10_000_000_000 => 1_000_000,
            _ => 100_000_000,
        };
        let rounded = nanos - nanos % unit;
        // More than 584 years, for which `from_nanos` has no room: shown as it is.
        if rounded > u64::MAX as u128 {
            return self.0;
        }
        #[expect(clippy::cast_possible_truncation, reason = "compared above")]
        Duration::from_nanos(rounded as u64)
    }
}

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.duration())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_the_digits_that_matter() {
        for (nanos, text) in [
            (0, "0ns"),
            (346, "346ns"),
            (346_250, "346µs"),
            (31_273_829, "31ms"),
            (1_500_400_000, "1.5s"),
            (12_345_000_000, "12.3s"),
        ] {
            assert_eq!(Rounded(Duration::from_nanos(nanos)).to_string(), text);
        }
        assert_eq!(Rounded(Duration::MAX).duration(), Duration::MAX);
    }
}
