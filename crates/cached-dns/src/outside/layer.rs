//! The layer and its options.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tollgate_core::Observer;
use tower_layer::Layer;

use crate::addresses::hosts::StaticHosts;
use crate::cache::config::{Config, Rotation};
use crate::outside::service::CachedDns;
use crate::values::bounds::InvalidBounds;

/// Caches the answers of a resolver.
///
/// Each service it makes has a cache of its own, which the service's clones share.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it wraps a resolver"]
pub struct CachedDnsLayer {
    config: Config,
}

impl Default for CachedDnsLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl CachedDnsLayer {
    /// With the defaults that each option states.
    pub const fn new() -> Self {
        Self {
            config: Config::DEFAULT,
        }
    }

    /// The time that an answer is fresh if the backend does not know, as getaddrinfo does not: 30 s.
    pub const fn fixed_ttl(mut self, ttl: Duration) -> Self {
        self.config.fixed_ttl = ttl;
        self
    }

    /// The longest that any answer is fresh, whatever its TTL: 5 min. A minimum above it comes
    /// down to it.
    pub fn max_ttl(mut self, max: Duration) -> Self {
        let (min, _) = self.config.ttl;
        self.config.ttl = (min.min(max), max);
        self
    }

    /// The shortest that any answer is fresh, whatever its TTL: 1 s. A maximum below it goes up to
    /// it.
    pub fn min_ttl(mut self, min: Duration) -> Self {
        let (_, max) = self.config.ttl;
        self.config.ttl = (min, max.max(min));
        self
    }

    /// [`min_ttl`](Self::min_ttl) and [`max_ttl`](Self::max_ttl) in one.
    ///
    /// # Errors
    ///
    /// If the minimum is above the maximum.
    pub fn ttl_bounds(mut self, min: Duration, max: Duration) -> Result<Self, InvalidBounds> {
        InvalidBounds::check("ttl_bounds", min, max)?;
        self.config.ttl = (min, max);
        Ok(self)
    }

    /// The time that "not found" holds if the answer does not say (no SOA record): 5 s, within
    /// [`negative_ttl_bounds`](Self::negative_ttl_bounds).
    pub const fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.config.negative_fixed = ttl;
        self
    }

    /// The shortest and the longest that "not found" holds: 1 s and 10 s.
    ///
    /// # Errors
    ///
    /// If the minimum is above the maximum.
    pub fn negative_ttl_bounds(
        mut self,
        min: Duration,
        max: Duration,
    ) -> Result<Self, InvalidBounds> {
        InvalidBounds::check("negative_ttl_bounds", min, max)?;
        self.config.negative = (min, max);
        Ok(self)
    }

    /// After how many per cent of its lifetime an answer that is still asked for is refreshed in
    /// the background: 80. With 100 or more there is no refresh ahead of expiry.
    pub const fn refresh_at(mut self, per_cent: u8) -> Self {
        self.config.refresh_at = per_cent;
        self
    }

    /// The time past its lifetime that an answer is given at once while a new one is fetched: 10 s. It is
    /// short so that a rarely asked name does not always get an old answer. Zero turns it off.
    pub const fn stale_while_revalidate(mut self, span: Duration) -> Self {
        self.config.swr = span;
        self
    }

    /// The time that a caller waits for a new answer before it gets a stale one: 500 ms.
    pub const fn stale_wait(mut self, longest: Duration) -> Self {
        self.config.stale_wait = longest;
        self
    }

    /// The time that past its lifetime an answer is given when no new one can be had: 1 h. Zero
    /// turns all stale answers off.
    pub const fn max_stale(mut self, span: Duration) -> Self {
        self.config.max_stale = span;
        self
    }

    /// The time that a caller waits when there is nothing to give: 5 s.
    pub const fn lookup_timeout(mut self, longest: Duration) -> Self {
        self.config.lookup_timeout = longest;
        self
    }

    /// The time that a lookup lives, its wait for a place included, also without waiters
    /// any more: 10 s.
    pub const fn hard_stop(mut self, longest: Duration) -> Self {
        self.config.hard_stop = longest;
        self
    }

    /// The time that a name is not asked for again after a failure, doubling with each further one:
    /// 1 s to 30 s.
    ///
    /// # Errors
    ///
    /// If the first is above the longest.
    pub fn failure_backoff(
        mut self,
        first: Duration,
        longest: Duration,
    ) -> Result<Self, InvalidBounds> {
        InvalidBounds::check("failure_backoff", first, longest)?;
        self.config.backoff = (first, longest);
        Ok(self)
    }

    /// Shortens lifetimes: they are shortened by up to 10 % at random and back-offs varied by 20 %,
    /// so that names and processes do not ask in step: yes.
    pub const fn jitter(mut self, jitter: bool) -> Self {
        self.config.jitter = jitter;
        self
    }

    /// Sets the number of names that are kept, about: 1,024. The least useful go first (S3-FIFO).
    pub const fn max_names(mut self, names: NonZeroUsize) -> Self {
        self.config.max_names = names;
        self
    }

    /// Sets the most queries to the backend under way: 64.
    pub const fn max_lookups(mut self, lookups: NonZeroUsize) -> Self {
        self.config.max_lookups = lookups;
        self
    }

    /// The number of names that wait for a place beyond [`max_lookups`](Self::max_lookups) before further
    /// ones are refused as [`Overloaded`](crate::LookupErrorKind::Overloaded): 1,024.
    pub const fn max_pending(mut self, names: usize) -> Self {
        self.config.max_pending = names;
        self
    }

    /// The rule by which one of a family's addresses comes first: round robin.
    pub const fn rotation(mut self, rotation: Rotation) -> Self {
        self.config.rotation = rotation;
        self
    }

    /// Names that are answered from a table and never asked for: none.
    pub fn overrides(mut self, hosts: StaticHosts) -> Self {
        self.config.overrides = hosts;
        self
    }

    /// Sees each lookup as [`Event::DnsCache`](tollgate_core::Event::DnsCache) and each query to
    /// the backend as [`Event::DnsLookup`](tollgate_core::Event::DnsLookup): none.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.config.observer = Some(observer);
        self
    }

    /// Wraps a backend, as [`Layer::layer`] does.
    pub fn cached<B>(&self, backend: B) -> CachedDns<B> {
        CachedDns::new(self.config.clone(), backend)
    }
}

impl<B> Layer<B> for CachedDnsLayer {
    type Service = CachedDns<B>;

    fn layer(&self, backend: B) -> CachedDns<B> {
        self.cached(backend)
    }
}
