//! How many there were, without keeping them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts different hashes in 8 KiB by linear counting: how many of its bits are still unset tells
/// how many different ones set the others. Good to a few per cent up to some 300,000.
#[derive(Debug)]
pub(crate) struct Sketch(Box<[AtomicU64]>);

impl Default for Sketch {
    fn default() -> Self {
        Self((0..Self::WORDS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Sketch {
    const WORDS: usize = 1024;

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the low bits are what is wanted"
    )]
    pub(crate) fn insert(&self, hash: u64) {
        let word = &self.0[hash as usize % Self::WORDS];
        // The bit by the high ones: low ones, which chose the word, would reach a part of the bits
        // alone.
        word.fetch_or(1 << (hash >> 58), Ordering::Relaxed);
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "65,536 bits, and a positive estimate of at most 11 times as many"
    )]
    pub(crate) fn estimate(&self) -> u64 {
        let unset = self
            .0
            .iter()
            .map(|word| word.load(Ordering::Relaxed).count_zeros());
        let (bits, unset) = (self.0.len() as f64 * 64.0, f64::from(unset.sum::<u32>()));
        // At least one unset bit: of a full sketch the estimate would be infinite.
        (bits * (bits / unset.max(1.0)).ln()).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;

    #[test]
    fn estimates_are_within_a_few_per_cent() {
        let hasher = foldhash::quality::RandomState::default();
        for count in [0_u32, 1, 10, 1_000, 10_000, 100_000] {
            let sketch = Sketch::default();
            for i in 0..count {
                sketch.insert(hasher.hash_one(i));
                sketch.insert(hasher.hash_one(i));
            }
            let (estimate, count) = (sketch.estimate(), u64::from(count));
            assert!(
                estimate.abs_diff(count) <= count / 30 + 1,
                "{estimate} for {count}"
            );
        }
    }
}
