//! What came of a load.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::client::Failure;

/// The results of a load, or of one worker's part.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) elapsed: Duration,
    /// Of each request that was answered, in microseconds.
    pub(crate) latencies: Vec<u32>,
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) longest_wait: Duration,
}

impl Tally {
    pub(crate) fn fail(&mut self, Failure(kind): Failure) {
        *self.errors.entry(kind.into_owned()).or_default() += 1;
    }

    pub(crate) fn absorb(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        for (kind, count) in other.errors {
            *self.errors.entry(kind).or_default() += count;
        }
        self.longest_wait = self.longest_wait.max(other.longest_wait);
    }

    pub(crate) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// The latency that this share of the answered requests did not exceed; the latencies must be
    /// sorted.
    pub(crate) fn quantile(&self, share: f64) -> u32 {
        let last = self.latencies.len().saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of a length is a length"
        )]
        let at = (last as f64 * share).round() as usize;
        self.latencies.get(at).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_answers_that_came() {
        let tally = Tally {
            latencies: (0..=100).collect(),
            ..Tally::default()
        };
        assert_eq!(
            [0.5, 0.99, 1.0].map(|share| tally.quantile(share)),
            [50, 99, 100]
        );
        assert_eq!(Tally::default().quantile(0.5), 0);
    }
}
