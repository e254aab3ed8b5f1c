//! The handle to a cache, for everything that is not a lookup.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::time::Instant;
use tollgate_core::{AttemptOutcome, ConnectErrorKind};

use crate::addresses::changes::DnsChanges;
use crate::cache::snapshot::{NameSnapshot, snapshot};
use crate::cache::stats::{DnsStats, count};
use crate::entries::entry::Life;
use crate::outside::engine::AnyEngine;
use crate::values::name::Folded;

/// Inspects a cache, reports the outcomes of its addresses to it, and subscribes to changes.
///
/// Cloning shares the cache. Names match as in a lookup: in any case, the trailing dot counting.
#[derive(Clone)]
pub struct DnsHandle {
    engine: Arc<AnyEngine>,
}

/// The interval at which a name whose addresses all failed is asked for again because of that, in ms.
const FORCED_EVERY: u64 = 1_000;

impl DnsHandle {
    pub(crate) fn new(engine: Arc<AnyEngine>) -> Self {
        Self { engine }
    }

    /// Forgets what is known of `name`: the next lookup asks the backend. A query that is under way
    /// answers the lookups that wait for it and none after them. Returns `true` if anything was known.
    ///
    /// Addresses that the next answer does not have are [`gone`](crate::DnsChange::gone) at once.
    pub fn invalidate(&self, name: &str) -> bool {
        self.engine.cache.invalidate(name, Instant::now())
    }

    /// [Invalidates](Self::invalidate) every name.
    pub fn invalidate_all(&self) {
        let cache = &self.engine.cache;
        // Listed first: each of them takes this lock again.
        let flying: Vec<_> = cache.flights_locked().table.keys().cloned().collect();
        // Flights too: one without an entry yet would write an answer from before.
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
    /// not while its failures are backed off from. Returns `true` if it does.
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

    /// The time from which [`keep_fresh`](Self::keep_fresh) refreshes `name`; `None` for a name
    /// without addresses.
    pub fn refresh_due(&self, name: &str) -> Option<Instant> {
        self.engine.cache.map.peek(&Folded(name))?.refresh_due()
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

    /// Reports an attempt to connect to `addr`: a failure that is the address's own sends it to
    /// the end of its family, for 1 s doubling to 60 s; a success brings it back. Everything else
    /// (lost races, used up ports) is no evidence.
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

    /// Reports that no address of `name` worked: it may have moved, so it is refreshed now, at most
    /// once a second. Returns `true` if it is.
    ///
    /// Lookups that follow wait for the new answer, as those of an expired one do: the old one is
    /// served only if the backend fails or takes longer than
    /// [`stale_wait`](crate::CachedDnsLayer::stale_wait).
    pub fn all_failed(&self, name: &str) -> bool {
        let cache = &self.engine.cache;
        let Some(entry) = cache.map.peek(&Folded(name)) else {
            return false;
        };
        let now = cache.millis(Instant::now()) + FORCED_EVERY;
        let last = entry.usage.forced.load(Relaxed);
        // Another thread may have noted a time a little later than this one's.
        let is_due = now.saturating_sub(last) >= FORCED_EVERY
            && entry
                .usage
                .forced
                .compare_exchange(last, now, Relaxed, Relaxed)
                .is_ok();
        if !is_due || entry.is_backing_off(Instant::now()) {
            return false;
        }
        // Also if a query is under way or there is no room for one: a lookup joins it, or begins it.
        entry.doubt();
        self.refresh(name)
    }

    /// Changes of addresses, from now on.
    pub fn subscribe(&self) -> DnsChanges {
        DnsChanges::new(self.engine.cache.changes.subscribe())
    }

    /// Counters since the cache was made, and its size now.
    pub fn stats(&self) -> DnsStats {
        self.engine.cache.stats()
    }

    /// Returns the contents of the cache by name, in no order.
    pub fn snapshot(&self) -> Vec<NameSnapshot> {
        snapshot(&self.engine.cache, Instant::now())
    }

    fn knows(&self, name: &str) -> bool {
        let entry = self.engine.cache.map.peek(&Folded(name));
        entry.is_some_and(|entry| Instant::now() < entry.times.expires)
    }
}

/// Returns true if a failure of this kind is the address's own.
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
