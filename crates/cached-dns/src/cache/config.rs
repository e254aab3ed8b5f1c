//! The options of the cache, where their defaults come from, and the lifetimes that they allow.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tollgate_core::Observer;

use crate::addresses::hosts::StaticHosts;
use crate::values::ttl::clamped;

/// For answers without a lifetime (getaddrinfo): JDK 30 s, curl and Chrome 60 s, undici 10 s.
pub(crate) const FIXED_TTL: Duration = Duration::from_secs(30);
/// TTL 0 is common in service discovery and would be a lookup per connection; Envoy's floor is 5 s.
pub(crate) const MIN_TTL: Duration = Duration::from_secs(1);
/// A poisoned or outdated answer lives no longer; background refreshes make a low cap cheap.
pub(crate) const MAX_TTL: Duration = Duration::from_secs(300);
/// An answer with one family missing is asked for again after this.
pub(crate) const INCOMPLETE_TTL: Duration = Duration::from_secs(10);
/// For "no such name" without an SOA record.
pub(crate) const NEGATIVE_TTL: Duration = Duration::from_secs(5);
/// RFC 2308 allows 0, which is a lookup per attempt.
pub(crate) const NEGATIVE_MIN_TTL: Duration = Duration::from_secs(1);
/// A new service must appear soon: JDK 10 s, curl 30 s.
pub(crate) const NEGATIVE_MAX_TTL: Duration = Duration::from_secs(10);
/// Per cent of the lifetime after which a refresh starts; unbound's prefetch takes the last 10.
pub(crate) const REFRESH_AT: u8 = 80;
/// Short on purpose: rarely asked names would else always get an old answer (coredns#4309).
pub(crate) const STALE_WHILE_REVALIDATE: Duration = Duration::from_secs(10);
/// RFC 8767 gives recursive resolvers 1.8 s; behind this one waits a connection.
pub(crate) const STALE_WAIT: Duration = Duration::from_millis(500);
/// RFC 8767 recommends one to three days for recursive resolvers; a client dials what it is given.
pub(crate) const MAX_STALE: Duration = Duration::from_secs(3600);
/// Envoy's query timeout.
pub(crate) const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// The time at which a lookup without waiters is given up.
pub(crate) const HARD_STOP: Duration = Duration::from_secs(10);
/// RFC 9520 §3.2: at least 1 s.
pub(crate) const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// RFC 8767 §5: the failure recheck timer; RFC 9520 allows up to 5 min.
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Envoy's `max_hosts`, Chrome's host cache.
pub(crate) const MAX_NAMES: usize = 1024;
/// Bounds sockets and memory of lookups under way.
pub(crate) const MAX_LOOKUPS: usize = 64;
/// Envoy's `max_pending_requests`.
pub(crate) const MAX_PENDING: usize = 1024;

/// The rule by which one of a family's addresses comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rotation {
    /// Each lookup starts one address further; where the first one starts is random, so that
    /// processes do not march in step.
    #[default]
    RoundRobin,
    /// Each lookup starts at a random address.
    Random,
    /// As the backend gave them.
    AsResolved,
}

#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) fixed_ttl: Duration,
    pub(crate) ttl: (Duration, Duration),
    pub(crate) negative_fixed: Duration,
    pub(crate) negative: (Duration, Duration),
    pub(crate) jitter: bool,
    pub(crate) refresh_at: u8,
    pub(crate) swr: Duration,
    pub(crate) stale_wait: Duration,
    pub(crate) max_stale: Duration,
    pub(crate) lookup_timeout: Duration,
    pub(crate) hard_stop: Duration,
    pub(crate) backoff: (Duration, Duration),
    pub(crate) max_names: NonZeroUsize,
    pub(crate) max_lookups: NonZeroUsize,
    pub(crate) max_pending: usize,
    pub(crate) rotation: Rotation,
    pub(crate) overrides: StaticHosts,
    pub(crate) observer: Option<Arc<dyn Observer>>,
}

impl Config {
    pub(crate) const DEFAULT: Self = Self {
        fixed_ttl: FIXED_TTL,
        ttl: (MIN_TTL, MAX_TTL),
        negative_fixed: NEGATIVE_TTL,
        negative: (NEGATIVE_MIN_TTL, NEGATIVE_MAX_TTL),
        jitter: true,
        refresh_at: REFRESH_AT,
        swr: STALE_WHILE_REVALIDATE,
        stale_wait: STALE_WAIT,
        max_stale: MAX_STALE,
        lookup_timeout: LOOKUP_TIMEOUT,
        hard_stop: HARD_STOP,
        backoff: (BACKOFF_MIN, BACKOFF_MAX),
        max_names: NonZeroUsize::new(MAX_NAMES).unwrap(),
        max_lookups: NonZeroUsize::new(MAX_LOOKUPS).unwrap(),
        max_pending: MAX_PENDING,
        rotation: Rotation::RoundRobin,
        overrides: StaticHosts::new(),
        observer: None,
    };

    /// Returns the time that an answer is fresh, before jitter.
    pub(crate) fn lifetime(&self, ttl: Option<Duration>, complete: bool) -> Duration {
        let ttl = clamped(ttl.unwrap_or(self.fixed_ttl), self.ttl);
        if complete {
            ttl
        } else {
            // Below the minimum too, if that is longer: the family that is missing is asked for
            // again soon.
            ttl.min(INCOMPLETE_TTL)
        }
    }

    /// The times past its lifetime that an answer is served while it is revalidated, and at all.
    pub(crate) const fn stale(&self) -> (Duration, Duration) {
        (self.swr, self.max_stale)
    }

    /// Returns the time that "not found" holds.
    pub(crate) fn negative_lifetime(&self, ttl: Option<Duration>) -> Duration {
        clamped(ttl.unwrap_or(self.negative_fixed), self.negative)
    }

    /// Returns the time that nothing is asked after the `count`-th failure in a row, before jitter.
    pub(crate) fn backoff_after(&self, count: u32) -> Duration {
        let (min, max) = self.backoff;
        // A shift by 32 overflows; the longest pause is reached long before.
        let doublings = count.saturating_sub(1).min(31);
        min.saturating_mul(1 << doublings).min(max)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("ttl", &self.ttl)
            .field("fixed_ttl", &self.fixed_ttl)
            .field("stale_while_revalidate", &self.swr)
            .field("max_stale", &self.max_stale)
            .field("max_names", &self.max_names)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn lifetimes_are_clamped_whatever_the_record_says() {
        let config = Config::DEFAULT;
        for (ttl, kept) in [
            (0, 1),
            (1, 1),
            (60, 60),
            (300, 300),
            (301, 300),
            (1 << 31, 300),
        ] {
            assert_eq!(config.lifetime(Some(secs(ttl)), true), secs(kept));
        }
        assert_eq!(config.lifetime(None, true), FIXED_TTL);
        assert_eq!(config.lifetime(Some(Duration::MAX), false), INCOMPLETE_TTL);
        assert_eq!(config.negative_lifetime(None), secs(5));
        assert_eq!(config.negative_lifetime(Some(secs(0))), secs(1));
        assert_eq!(config.negative_lifetime(Some(secs(3600))), secs(10));
    }

    #[test]
    fn failures_back_off_doubling_to_the_maximum() {
        let config = Config::DEFAULT;
        let waits: Vec<_> = (1..=7).map(|n| config.backoff_after(n).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(config.backoff_after(u32::MAX), secs(30));
    }
}
