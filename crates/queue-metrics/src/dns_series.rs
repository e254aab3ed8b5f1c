//! What is counted of one name in the DNS.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tollgate_core::lock::lock;

use crate::counters::Tally;
use crate::histogram::Histogram;

/// The results of a cache; anything else is counted as `other`.
pub(crate) const RESULTS: [&str; 5] = ["hit", "stale", "miss", "negative", "other"];

/// The most kinds of error with a series of their own; the others share `other`.
const MAX_ERRORS: usize = 16;

#[derive(Debug)]
pub(crate) struct DnsSeries {
    pub(crate) answered: Histogram,
    pub(crate) results: Tally<{ RESULTS.len() }>,
    /// By the word for the error. Guards the list alone.
    failed: Mutex<Vec<Failed>>,
}

type Failed = (&'static str, Arc<Histogram>);

impl Default for DnsSeries {
    fn default() -> Self {
        Self {
            answered: Histogram::of_waits(),
            results: Tally::default(),
            failed: Mutex::default(),
        }
    }
}

impl DnsSeries {
    pub(crate) fn lookup(&self, elapsed: Duration, error: Option<&'static str>) {
        match error {
            None => self.answered.record(elapsed),
            Some(word) => self.failures_of(word).record(elapsed),
        }
    }

    pub(crate) fn cache(&self, result: &str) {
        let index = RESULTS.iter().position(|known| *known == result);
        self.results.add(index.unwrap_or(RESULTS.len() - 1));
    }

    /// A copy of the list, so that no recorder is called under the lock.
    pub(crate) fn failed(&self) -> Vec<Failed> {
        let failed = lock(&self.failed);
        failed.clone()
    }

    fn failures_of(&self, word: &'static str) -> Arc<Histogram> {
        let mut failed = lock(&self.failed);
        let known = |failed: &Vec<Failed>, word| failed.iter().position(|(w, _)| *w == word);
        let word = match known(&failed, word) {
            // The words are the resolver's, which may be the user's own and have any number of
            // them.
            None if failed.len() >= MAX_ERRORS => "other",
            _ => word,
        };
        let index = known(&failed, word).unwrap_or_else(|| {
            failed.push((word, Arc::new(Histogram::of_waits())));
            failed.len() - 1
        });
        // Handed out, so that a sample is recorded after the lock is free again.
        Arc::clone(&failed[index].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_errors_are_bounded() {
        let series = DnsSeries::default();
        for i in 0..100 {
            let word: &'static str = Box::leak(format!("error_{i}").into_boxed_str());
            series.lookup(Duration::from_millis(1), Some(word));
        }
        let failed = series.failed();
        assert_eq!(failed.len(), MAX_ERRORS + 1);
        assert_eq!(failed[MAX_ERRORS].0, "other");
        assert_eq!(failed[MAX_ERRORS].1.distribution().count, 84);
    }

    #[test]
    fn an_unknown_result_is_counted_as_other() {
        let series = DnsSeries::default();
        for result in ["hit", "hit", "prefetched"] {
            series.cache(result);
        }
        assert_eq!(series.results.get(), [2, 0, 0, 0, 1]);
    }
}
