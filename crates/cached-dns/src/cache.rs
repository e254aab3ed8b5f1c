//! The cache: the table of names, the lookups under way, and what a result makes of an entry. No
//! Tower, no tasks, and time is an argument.

pub(crate) mod config;
pub(crate) mod flight;
pub(crate) mod flights;
#[cfg(test)]
mod interleave;
mod outcome;
pub(crate) mod probe;
pub(crate) mod snapshot;
pub(crate) mod stats;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quick_cache::{Lifecycle, UnitWeighter, sync::Cache as Map};
use tokio::sync::broadcast;
use tokio::time::Instant;
use tollgate_core::lock::lock;

use crate::addresses::addrs::{Addrs, Freshness};
use crate::addresses::changes::{DnsChange, MAX_CHANGES};
use crate::addresses::demotion::Demotions;
use crate::addresses::group::Group;
use crate::cache::config::{Config, Rotation};
use crate::cache::flights::Flights;
use crate::cache::outcome::Leftovers;
use crate::cache::probe::{Probe, Served};
use crate::cache::stats::{Counters, DnsStats, count};
use crate::entries::entry::{Entry, Life};
use crate::values::error::{LookupError, LookupErrorKind};
use crate::values::name::{Folded, Key, is_localhost, is_never_found, is_valid, literal};
use crate::values::random::Random;

type Names = Map<Key, Arc<Entry>, UnitWeighter, foldhash::fast::RandomState, CountEvictions>;

pub(crate) struct Cache {
    pub(crate) config: Config,
    /// Written only with `flights` locked, so that what a lookup compares its answer with is what
    /// it replaces.
    pub(crate) map: Names,
    /// Guards the table of lookups under way, and all writes to `map`. Under it: no backend, no
    /// wake, no task is started, no observer.
    flights: Mutex<Flights>,
    pub(crate) demotions: Demotions,
    pub(crate) counters: Arc<Counters>,
    pub(crate) changes: broadcast::Sender<DnsChange>,
    pub(crate) epoch: Instant,
    localhost: Arc<Group>,
    pub(crate) random: Random,
}

impl Cache {
    pub(crate) fn new(config: Config, now: Instant) -> Self {
        let counters = Arc::<Counters>::default();
        let localhost = [
            IpAddr::V6(Ipv6Addr::LOCALHOST),
            IpAddr::V4(Ipv4Addr::LOCALHOST),
        ];
        let localhost = localhost.map(|ip| SocketAddr::new(ip, 0));
        let names = config.max_names.get();
        Self {
            map: Map::with(
                names,
                names as u64,
                UnitWeighter,
                foldhash::fast::RandomState::default(),
                CountEvictions(Arc::clone(&counters)),
            ),
            flights: Mutex::default(),
            demotions: Demotions::new(now),
            counters,
            changes: broadcast::Sender::new(MAX_CHANGES),
            epoch: now,
            localhost: Arc::new(Group::of(localhost)),
            random: Random::new(),
            config,
        }
    }

    /// The hit path: a hash, a shared lock on a shard, no allocation.
    pub(crate) fn probe(&self, name: &str, now: Instant) -> Probe {
        if let Some(served) = self.before_cache(name, now) {
            return Probe::Done(served);
        }
        match self.map.get(&Folded(name)) {
            Some(entry) => self.judge(entry, now),
            // Checked after a miss alone: what is in the map was valid.
            None if is_valid(name) => Probe::Ask { stale: None },
            None => Probe::Done(Served::failed(
                LookupError::new(LookupErrorKind::InvalidName).of(name.into(), Duration::ZERO),
                "negative",
            )),
        }
    }

    /// Returns the answer that needs no cache: addresses, overrides, and the names of RFC 6761.
    fn before_cache(&self, name: &str, now: Instant) -> Option<Served> {
        if let Some(ip) = literal(name) {
            count(&self.counters.literals);
            return Some(Served::ok(Addrs::literal(ip), None));
        }
        // Before `localhost` and `invalid`: an override may give those other addresses.
        if let Some(pinned) = self.config.overrides.find(name) {
            count(&self.counters.overridden);
            return Some(if pinned.is_empty() {
                Served::failed(not_found(name), "negative")
            } else {
                Served::ok(self.serve(pinned, now, Freshness::Fresh), Some("hit"))
            });
        }
        if is_localhost(name) {
            count(&self.counters.literals);
            let addrs = self.serve(&self.localhost, now, Freshness::Fresh);
            return Some(Served::ok(addrs, None));
        }
        is_never_found(name).then(|| Served::failed(not_found(name), "negative"))
    }

    fn judge(&self, entry: Arc<Entry>, now: Instant) -> Probe {
        let life = entry.life(now);
        let (counter, event, refresh) = match life {
            // Else every call until the backend's reply would dial what just failed.
            Life::Fresh | Life::RefreshAhead | Life::Revalidate if entry.is_doubted() => {
                return Probe::Ask { stale: Some(entry) };
            }
            Life::Fresh => (&self.counters.fresh, "hit", false),
            // Claimed by one caller: the others are served, and start nothing.
            Life::RefreshAhead => (&self.counters.fresh, "hit", entry.claim_refresh(now)),
            Life::Revalidate => (
                &self.counters.revalidated,
                "stale",
                entry.claim_refresh(now),
            ),
            // Not refreshed: the back-off is the reason why it is served.
            Life::StaleOnError => (&self.counters.stale, "stale", false),
            Life::Expired => return Probe::Ask { stale: Some(entry) },
            Life::Gone => return Probe::Ask { stale: None },
            Life::Negative => {
                count(&self.counters.negative);
                return Probe::refusal(entry.negative.as_ref());
            }
            Life::Failed => {
                count(&self.counters.failure_cached);
                return Probe::refusal(entry.failure.as_ref().map(|failure| &failure.error));
            }
        };
        count(counter);
        let freshness = match life {
            Life::Fresh | Life::RefreshAhead => Freshness::Fresh,
            _ => Freshness::Stale {
                age: entry.age(now),
            },
        };
        let doubt = match life {
            Life::StaleOnError => entry.failure.as_ref().map(|failure| failure.error.clone()),
            _ => None,
        };
        let result = Ok(self.serve_entry(&entry, now, freshness));
        Probe::Done(Served {
            result,
            event: Some(event),
            refresh,
            doubt,
        })
    }

    /// The entry's addresses in the order in which this caller should try them.
    pub(crate) fn serve_entry(&self, entry: &Entry, now: Instant, freshness: Freshness) -> Addrs {
        // Relaxed: no decision rests on it, only what a person reads.
        entry.usage.last_used.store(self.millis(now), Relaxed);
        let addrs = self.serve(&entry.addrs, now, freshness);
        addrs.awaiting(entry.awaited.clone())
    }

    /// The addresses in the order in which this caller should try them.
    pub(crate) fn serve(&self, group: &Arc<Group>, now: Instant, freshness: Freshness) -> Addrs {
        // Counted whatever the rotation is: it is the number of hits too.
        let place = group.serve();
        let start = match self.config.rotation {
            Rotation::RoundRobin => place,
            Rotation::Random => self.random.next(),
            Rotation::AsResolved => 0,
        };
        // Each family by its own length: by one for both the shorter would not turn evenly.
        let of = |len: usize| if len < 2 { 0 } else { start % len };
        let (first, second) = group.families();
        let starts = (of(first), of(second));
        let order = self.demotions.order(group, starts, now);
        Addrs::rotated(Arc::clone(group), starts, order, freshness)
    }

    /// A stale answer to a caller whose lookup failed or took too long.
    pub(crate) fn serve_stale(&self, entry: &Entry, now: Instant) -> Addrs {
        count(&self.counters.stale);
        let age = entry.age(now);
        self.serve_entry(entry, now, Freshness::Stale { age })
    }

    /// Returns true if `name` is one that only a backend can know.
    pub(crate) fn needs_backend(&self, name: &str) -> bool {
        is_valid(name)
            && literal(name).is_none()
            && self.config.overrides.find(name).is_none()
            && !is_localhost(name)
            && !is_never_found(name)
    }

    pub(crate) fn stats(&self) -> DnsStats {
        // In a statement of its own: the lock is open again while the rest is counted.
        let in_flight = self.flights_locked().live;
        DnsStats {
            names: self.map.len() as u64,
            in_flight: in_flight as u64,
            demoted: self.demotions.len() as u64,
            ..self.counters.read()
        }
    }

    pub(crate) fn millis(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.epoch);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn flights_locked(&self) -> MutexGuard<'_, Flights> {
        #[cfg(test)]
        interleave::point();
        lock(&self.flights)
    }
}

fn not_found(name: &str) -> LookupError {
    LookupError::new(LookupErrorKind::NotFound { ttl: None }).of(name.into(), Duration::ZERO)
}

#[derive(Clone)]
pub(crate) struct CountEvictions(Arc<Counters>);

impl Lifecycle<Key, Arc<Entry>> for CountEvictions {
    /// Kept until the map's lock is free.
    type RequestState = Leftovers;

    fn on_evict(&self, evicted: &mut Leftovers, _: Key, entry: Arc<Entry>) {
        count(&self.0.evictions);
        // Not dropped here: the map's lock is held, and the entry may hold the last of a backend's
        // error.
        evicted.push(entry);
    }
}
