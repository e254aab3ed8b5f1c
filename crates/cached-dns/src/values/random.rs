//! Randomness for jitter and rotation: cheap, shared, and nothing that security rests on.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Random(AtomicU64);

impl Random {
    pub(crate) fn new() -> Self {
        // std's keys of a hash map are random for each process: a seed without a dependency.
        Self(AtomicU64::new(RandomState::new().hash_one(0)))
    }

    /// `SplitMix64`.
    #[expect(clippy::cast_possible_truncation, reason = "any bits will do")]
    pub(crate) fn next(&self) -> usize {
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize
    }

    /// `of`, less a random part of up to `per_cent` of it.
    pub(crate) fn shortened(&self, of: Duration, per_cent: u32) -> Duration {
        // A thousandth of the part is fine enough, and needs no floats.
        let thousandths = u32::try_from(self.next() % 1_001).unwrap_or_default();
        of.saturating_sub((of / 100_000).saturating_mul(thousandths * per_cent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_shortens_by_up_to_a_tenth() {
        let random = Random::new();
        let whole = Duration::from_secs(100);
        let shortened: Vec<_> = (0..1_000).map(|_| random.shortened(whole, 10)).collect();
        let (shortest, longest) = (
            shortened.iter().min().unwrap(),
            shortened.iter().max().unwrap(),
        );
        assert!(*shortest >= Duration::from_secs(90) && *shortest < Duration::from_secs(91));
        assert!(*longest <= whole && *longest > Duration::from_secs(99));
    }

    #[test]
    fn the_longest_time_does_not_overflow() {
        assert!(Random::new().shortened(Duration::MAX, 33) > Duration::MAX / 2);
    }
}
