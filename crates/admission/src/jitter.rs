//! Spread, so that what was started together does not end together.

use std::time::Duration;

/// A deterministic source of spread (splitmix64): no cryptography, only different numbers.
#[derive(Clone, Debug)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `about`, plus or minus up to `percent` (at most 100) of it.
    pub(crate) fn spread(&mut self, about: Duration, percent: u8) -> Duration {
        const STEPS: u64 = 1 << 16;
        let percent = u32::from(percent.min(100));
        let reach = (about / 100).saturating_mul(percent);
        // From 0 to twice the reach, in steps of 2^-15 of it.
        let step = u32::try_from(self.next() % (STEPS + 1)).unwrap_or(0);
        let offset = (reach / (1 << 15)).saturating_mul(step);
        about.saturating_sub(reach).saturating_add(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_and_covers_its_range() {
        let mut jitter = Jitter::new(7);
        let about = Duration::from_secs(300);
        let all: Vec<_> = (0..1_000).map(|_| jitter.spread(about, 10)).collect();
        let (low, high) = (Duration::from_secs(270), Duration::from_secs(330));
        assert!(all.iter().all(|each| (low..=high).contains(each)));
        assert!(all.iter().any(|each| *each < Duration::from_secs(275)));
        assert!(all.iter().any(|each| *each > Duration::from_secs(325)));
    }

    #[test]
    fn jitter_of_the_longest_duration_does_not_overflow() {
        let mut jitter = Jitter::new(7);
        assert_eq!(jitter.spread(Duration::MAX, 0), Duration::MAX);
        assert!(jitter.spread(Duration::MAX, 200) <= Duration::MAX);
    }
}
