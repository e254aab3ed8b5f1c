//! What the cache knows of one name, and what that is worth at a given time.
//!
//! An entry is replaced as a whole and never changed, but for its use counters.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use crate::awaited::Awaited;
use crate::changes::Absent;
use crate::config::Config;
use crate::error::LookupError;
use crate::times::{FOREVER, Times, grouped};

#[derive(Debug)]
pub(crate) struct Entry {
    /// Grouped by family, the family of the backend's first address first.
    pub(crate) addrs: Box<[SocketAddr]>,
    /// How many addresses belong to the first family.
    pub(crate) split: usize,
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
    /// How often the entry was served: the hit count and the cursor of the rotation in one.
    pub(crate) served: AtomicUsize,
    /// Where the rotation began.
    pub(crate) seed: usize,
    /// Milliseconds since the cache was made.
    pub(crate) last_used: AtomicU64,
    /// When a refresh was last forced because all addresses failed: a second more than the
    /// milliseconds since the cache was made, or 0 for never.
    pub(crate) forced: AtomicU64,
}

impl Usage {
    /// The counters go on where those of the entry before stood. What is counted between this
    /// copy and the replacement is lost: a rotation repeats an address.
    pub(crate) fn carried_over(&self) -> Self {
        Self {
            served: AtomicUsize::new(self.served.load(Relaxed)),
            seed: self.seed,
            last_used: AtomicU64::new(self.last_used.load(Relaxed)),
            forced: AtomicU64::new(self.forced.load(Relaxed)),
        }
    }
}

/// What an entry is worth.
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
        } else if self.negative.is_some() && now < times.expires {
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
            .is_some_and(|failure| now < failure.until)
    }

    /// Whether this caller is the one to start a background refresh.
    pub(crate) fn claim_refresh(&self, now: Instant) -> bool {
        !self.refreshing.load(Relaxed)
            && !self.is_backing_off(now)
            && !self.refreshing.swap(true, Relaxed)
    }

    /// Whether anything was ever answered: addresses, or that there are none.
    pub(crate) fn is_answered(&self) -> bool {
        !self.addrs.is_empty() || self.negative.is_some() || !self.absent.is_empty()
    }

    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.times.born)
    }

    /// An entry that says nothing.
    pub(crate) fn empty(now: Instant) -> Self {
        Self {
            addrs: Box::default(),
            split: 0,
            negative: None,
            times: Times::never(now),
            failure: None,
            absent: Box::default(),
            awaited: None,
            usage: Usage::default(),
            refreshing: AtomicBool::new(false),
        }
    }

    /// An entry that never changes.
    pub(crate) fn fixed(addrs: Vec<SocketAddr>, now: Instant) -> Self {
        let (addrs, split) = grouped(addrs);
        Self {
            addrs,
            split,
            times: Times::of(now, FOREVER, FOREVER, &Config::DEFAULT),
            ..Self::empty(now)
        }
    }

    /// The same knowledge, with one more failure.
    pub(crate) fn failed(&self, failure: Failure) -> Self {
        Self {
            addrs: self.addrs.clone(),
            split: self.split,
            negative: self.negative.clone(),
            times: self.times,
            failure: Some(failure),
            absent: self.absent.clone(),
            awaited: self.awaited.clone(),
            usage: self.usage.carried_over(),
            refreshing: AtomicBool::new(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(s: &str) -> SocketAddr {
        format!("{s}:0").parse().unwrap()
    }

    fn entry(now: Instant, lifetime: u64) -> Entry {
        let lifetime = Duration::from_secs(lifetime);
        Entry {
            times: Times::of(now, lifetime, lifetime.mul_f64(0.8), &Config::DEFAULT),
            ..Entry::fixed(vec![addr("127.0.0.1")], now)
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
