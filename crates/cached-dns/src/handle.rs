//! The cache's other door.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::time::Instant;
use tollgate_core::{AttemptOutcome, ConnectErrorKind};

use crate::changes::DnsChanges;
use crate::engine::AnyEngine;
use crate::entry::Life;
use crate::name::Folded;
use crate::snapshot::{NameSnapshot, snapshot};
use crate::stats::{DnsStats, count};

/// Looks into a cache, tells it what happened to its addresses, and hears what changed.
///
/// Cloning shares the cache. Names match as in a lookup: in any case, the trailing dot counting.
#[derive(Clone)]
pub struct DnsHandle {
    engine: Arc<AnyEngine>,
}

/// How often a name whose addresses all failed is asked for again because of that, in ms.
const FORCED_EVERY: u64 = 1_000;

impl DnsHandle {
    pub(crate) fn new(engine: Arc<AnyEngine>) -> Self {
        Self { engine }
    }

    /// Forgets what is known of `name`: the next lookup asks the backend. A query that is under way
    /// answers those who wait for it and no one after them. Whether anything was known.
    ///
    /// Addresses that the next answer does not have are [`gone`](crate::DnsChange::gone) at once.
    pub fn invalidate(&self, name: &str) -> bool {
        self.engine.cache.invalidate(name, Instant::now())
    }

    /// [Invalidates](Self::invalidate) every name.
    pub fn invalidate_all(&self) {
        let cache = &self.engine.cache;
        let flying: Vec<_> = cache.flights_locked().table.keys().cloned().collect();
        let known = cache.map.iter().map(|(key, _)| key);
        for key in known.chain(flying).collect::<Vec<_>>() {
            cache.invalidate(key.as_str(), Instant::now());
        }
    }

    /// Asks the backend for `name` in the background; until it answers, lookups get what is known.
    /// `false` if a query is under way, or too many are, or there is no tokio runtime here, or the
    /// name is one that is never asked for.
    pub fn refresh(&self, name: &str) -> bool {
        self.engine.cache.needs_backend(name)
            && tokio::runtime::Handle::try_current().is_ok()
            && self.engine.refresh(name)
    }

    /// [Refreshes](Self::refresh) `name` if a lookup would do so now: from 0.8 of its lifetime on, and
    /// not while its failures are backed off from. Whether it does.
    ///
    /// For a name that is in use without being looked up, as that of connections which are kept
    /// open: called now and then, it keeps the answer true and [changes](Self::subscribe) coming.
    /// It counts as no lookup, and does nothing for a name without addresses.
    pub fn keep_fresh(&self, name: &str) -> bool {
        let cache = &self.engine.cache;
        let now = Instant::now();
        let Some(entry) = cache.map.peek(&Folded(name)) else {
            return false;
        };
        let is_due = matches!(
            entry.life(now),
            Life::RefreshAhead | Life::Revalidate | Life::Expired
        );
        // Claimed last: who claims a refresh has to start it.
        is_due
            && tokio::runtime::Handle::try_current().is_ok()
            && entry.claim_refresh(now)
            && self.engine.refresh(name)
    }

    /// The addresses that `name` is known to have, fresh or not; none if it has none or is not known.
    /// In no order that matters, and it counts as no lookup.
    pub fn addrs(&self, name: &str) -> Vec<SocketAddr> {
        let entry = self.engine.cache.map.peek(&Folded(name));
        entry.map_or_else(Vec::new, |entry| entry.addrs.to_vec())
    }

    /// [Refreshes](Self::refresh) those of `names` that the cache does not know, as at a start.
    pub fn prefetch<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        for name in names {
            if !self.knows(name) {
                self.refresh(name);
            }
        }
    }

    /// What came of an attempt to connect to `addr`: a failure that is the address's own sends it to
    /// the end of its family, for 1 s doubling to 60 s; a success brings it back. Everything else
    /// (lost races, used up ports) says nothing.
    pub fn report(&self, addr: SocketAddr, outcome: AttemptOutcome) {
        let demotions = &self.engine.cache.demotions;
        match outcome {
            AttemptOutcome::Connected => demotions.worked(addr),
            AttemptOutcome::Failed(kind) if is_the_address(kind) => {
                count(&self.engine.cache.counters.demotions);
                demotions.failed(addr, Instant::now());
            }
            _ => {}
        }
    }

    /// All addresses of `name` failed: it may have moved, so it is refreshed now, at most once a
    /// second. Whether it is.
    pub fn all_failed(&self, name: &str) -> bool {
        let cache = &self.engine.cache;
        let Some(entry) = cache.map.peek(&Folded(name)) else {
            return false;
        };
        let now = cache.millis(Instant::now()) + FORCED_EVERY;
        let last = entry.usage.forced.load(Relaxed);
        let is_due = now - last >= FORCED_EVERY
            && entry
                .usage
                .forced
                .compare_exchange(last, now, Relaxed, Relaxed)
                .is_ok();
        is_due && !entry.is_backing_off(Instant::now()) && self.refresh(name)
    }

    /// Changes of addresses, from now on.
    pub fn subscribe(&self) -> DnsChanges {
        DnsChanges::new(self.engine.cache.changes.subscribe())
    }

    /// Counters since the cache was made, and its size now.
    pub fn stats(&self) -> DnsStats {
        self.engine.cache.stats()
    }

    /// What is known of each name, in no order.
    pub fn snapshot(&self) -> Vec<NameSnapshot> {
        snapshot(&self.engine.cache, Instant::now())
    }

    fn knows(&self, name: &str) -> bool {
        let entry = self.engine.cache.map.peek(&Folded(name));
        entry.is_some_and(|entry| Instant::now() < entry.times.expires)
    }
}

/// Whether a failure of this kind says something about the address.
fn is_the_address(kind: ConnectErrorKind) -> bool {
    !matches!(
        kind,
        ConnectErrorKind::Dns
            | ConnectErrorKind::PortsExhausted
            | ConnectErrorKind::TooManyOpenFiles
            | ConnectErrorKind::Blocked
    )
}

impl fmt::Debug for DnsHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsHandle")
            .field("stats", &self.stats())
            .finish()
    }
}
