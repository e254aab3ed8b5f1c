//! The knowledge of one name, and its worth at a given time.
//!
//! An entry is replaced as a whole and never changed, but for its use counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use crate::addresses::awaited::Awaited;
use crate::addresses::changes::Absent;
use crate::addresses::group::Group;
use crate::values::error::LookupError;
use crate::values::ttl::Times;

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) addrs: Arc<Group>,
    /// "Not found", if that was the last answer.
    pub(crate) negative: Option<LookupError>,
    pub(crate) times: Times,
    /// The failures since the last answer.
    pub(crate) failure: Option<Failure>,
    /// Addresses that are missing from the last answers.
    pub(crate) absent: Box<[Absent]>,
    /// One family was out when the answer was given.
    pub(crate) awaited: Option<Awaited>,
    pub(crate) usage: Usage,
    /// A refresh has been started, or need not be: makes one caller out of many start it.
    pub(crate) refreshing: AtomicBool,
    /// No address worked, and the name is being asked for again: an answer that is on its way is
    /// better than this one.
    pub(crate) doubted: AtomicBool,
}

#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) count: u32,
    pub(crate) error: LookupError,
    /// Nothing is asked before this.
    pub(crate) until: Instant,
}

#[derive(Debug, Default)]
pub(crate) struct Usage {
    /// Milliseconds since the cache was made.
    pub(crate) last_used: AtomicU64,
    /// The time at which a refresh was last forced because all addresses failed: a second more than the
    /// milliseconds since the cache was made, or 0 for never.
    pub(crate) forced: AtomicU64,
}

impl Usage {
    /// A copy, for the entry that replaces this one.
    pub(crate) fn carried_over(&self) -> Self {
        Self {
            last_used: AtomicU64::new(self.last_used.load(Relaxed)),
            forced: AtomicU64::new(self.forced.load(Relaxed)),
        }
    }
}

/// The state of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// Serve it.
    Fresh,
    /// Serve it, and refresh it.
    RefreshAhead,
    /// Past its TTL for a short time only: serve it, and refresh it.
    Revalidate,
    /// Well past its TTL: ask, and serve it only if that fails or takes too long.
    Expired,
    /// As `Expired`, but asking failed a short time ago: serve it.
    StaleOnError,
    /// The name does not exist.
    Negative,
    /// Nothing to serve, and asking failed a short time ago.
    Failed,
    /// Nothing.
    Gone,
}

impl Entry {
    // Gone ← nothing or too old; a failure turns Gone into Failed and Expired into StaleOnError
    // until its back-off is over. Fresh → RefreshAhead → Revalidate → Expired → Gone by age.
    pub(crate) fn life(&self, now: Instant) -> Life {
        let times = &self.times;
        if !self.addrs.is_empty() {
            if now < times.refresh_at {
                return Life::Fresh;
            } else if now < times.expires {
                return Life::RefreshAhead;
            } else if now < times.revalidate_until {
                return Life::Revalidate;
            } else if now < times.stale_until {
                return if self.is_backing_off(now) {
                    Life::StaleOnError
                } else {
                    Life::Expired
                };
            }
        } else if now < times.expires && self.negative.as_ref().is_some_and(still_stands) {
            return Life::Negative;
        }
        if self.is_backing_off(now) {
            Life::Failed
        } else {
            Life::Gone
        }
    }

    pub(crate) fn is_backing_off(&self, now: Instant) -> bool {
        self.failure
            .as_ref()
            .is_some_and(|failure| now < failure.until && still_stands(&failure.error))
    }

    /// The time at which a refresh is due, its back-off considered; `None` if there is none to do.
    pub(crate) fn refresh_due(&self) -> Option<Instant> {
        let backs_off = self.failure.as_ref().map(|failure| failure.until);
        let due = (!self.addrs.is_empty()).then_some(self.times.refresh_at)?;
        Some(backs_off.map_or(due, |until| due.max(until)))
    }

    /// Returns true if this caller is the one to start a background refresh.
    pub(crate) fn claim_refresh(&self, now: Instant) -> bool {
        // Looked at before it is swapped: once it is claimed, hits write to no shared line.
        !self.refreshing.load(Relaxed)
            && !self.is_backing_off(now)
            && !self.refreshing.swap(true, Relaxed)
    }

    /// Reports that no address worked. An entry of its own comes of the question that follows.
    pub(crate) fn doubt(&self) {
        self.doubted.store(true, Relaxed);
    }

    pub(crate) fn is_doubted(&self) -> bool {
        self.doubted.load(Relaxed)
    }

    /// Returns true if anything was ever answered: addresses, or that there are none.
    pub(crate) fn is_answered(&self) -> bool {
        !self.addrs.is_empty() || self.negative.is_some() || !self.absent.is_empty()
    }

    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.times.born)
    }

    /// An empty entry.
    pub(crate) fn empty(now: Instant) -> Self {
        Self {
            addrs: Arc::default(),
            negative: None,
            times: Times::never(now),
            failure: None,
            absent: Box::default(),
            awaited: None,
            usage: Usage::default(),
            refreshing: AtomicBool::new(false),
            doubted: AtomicBool::new(false),
        }
    }

    /// The same knowledge, with one more failure.
    pub(crate) fn failed(&self, failure: Failure) -> Self {
        Self {
            addrs: Arc::clone(&self.addrs),
            negative: self.negative.clone(),
            times: self.times,
            failure: Some(failure),
            absent: self.absent.clone(),
            awaited: self.awaited.clone(),
            usage: self.usage.carried_over(),
            refreshing: AtomicBool::new(false),
            // Doubted no longer, though asking failed: the old answer is better than none.
            doubted: AtomicBool::new(false),
        }
    }
}

/// With other name servers or another hosts file the name may be found.
fn still_stands(error: &LookupError) -> bool {
    !error.is_outdated()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(3600));

    fn entry(now: Instant, lifetime: u64) -> Entry {
        let lifetime = Duration::from_secs(lifetime);
        Entry {
            times: Times::of(now, lifetime, lifetime.mul_f64(0.8), STALE),
            addrs: Arc::new(Group::of([([127, 0, 0, 1], 0).into()])),
            ..Entry::empty(now)
        }
    }

    #[test]
    fn an_answer_ages_from_fresh_to_gone() {
        let born = Instant::now();
        let entry = entry(born, 100);
        let at = |secs| entry.life(born + Duration::from_secs(secs));
        for (secs, life) in [
            (0, Life::Fresh),
            (79, Life::Fresh),
            (80, Life::RefreshAhead),
            (99, Life::RefreshAhead),
            (100, Life::Revalidate),
            (109, Life::Revalidate),
            (110, Life::Expired),
            (3699, Life::Expired),
            (3700, Life::Gone),
        ] {
            assert_eq!(at(secs), life, "after {secs} s");
        }
    }

    #[test]
    fn a_failure_holds_back_questions_and_not_answers() {
        let born = Instant::now();
        let failure = Failure {
            count: 1,
            error: LookupError::new(crate::LookupErrorKind::Transient),
            until: born + Duration::from_secs(5000),
        };
        let entry = entry(born, 100).failed(failure);
        let at = |secs| entry.life(born + Duration::from_secs(secs));
        assert_eq!(at(10), Life::Fresh);
        assert_eq!(at(200), Life::StaleOnError);
        assert_eq!(at(4000), Life::Failed);
        assert_eq!(at(5000), Life::Gone);
        assert!(!entry.claim_refresh(born + Duration::from_secs(90)));
    }

    #[test]
    fn one_caller_of_many_starts_the_refresh() {
        let now = Instant::now();
        let entry = entry(now, 100);
        assert!(entry.claim_refresh(now));
        assert!(!entry.claim_refresh(now));
    }
}
