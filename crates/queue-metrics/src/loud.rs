//! A warning now and then instead of a flood.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::time::Instant;

/// Whose turn it is to be loud: once a second.
#[derive(Debug)]
pub(crate) struct Loud {
    start: Instant,
    /// The second of the last turn, counted from 1; 0 before the first.
    second: AtomicU64,
    suppressed: AtomicU64,
}

impl Loud {
    pub(crate) fn starting(start: Instant) -> Self {
        Self {
            start,
            second: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
        }
    }

    /// How many were held back since the last turn, if it is one.
    pub(crate) fn turn(&self, now: Instant) -> Option<u64> {
        let second = now.saturating_duration_since(self.start).as_secs() + 1;
        if self.second.fetch_max(second, Relaxed) < second {
            return Some(self.suppressed.swap(0, Relaxed));
        }
        self.suppressed.fetch_add(1, Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_first_of_each_second_is_loud_and_tells_how_many_were_not() {
        let start = Instant::now();
        let loud = Loud::starting(start);
        let at = |millis| loud.turn(start + Duration::from_millis(millis));
        assert_eq!(at(0), Some(0));
        assert_eq!([at(1), at(999)], [None, None]);
        assert_eq!(at(1_000), Some(2));
        assert_eq!(at(500), None, "a clock read earlier on another thread");
        assert_eq!(at(7_000), Some(1));
    }
}
