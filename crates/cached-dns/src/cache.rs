//! The cache: names, what is known of them, and the lookups under way. No Tower, no tasks, and time
//! is an argument.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quick_cache::{Lifecycle, UnitWeighter, sync::Cache as Map};
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::addrs::{Addrs, Freshness};
use crate::changes::{DnsChange, MAX_CHANGES};
use crate::config::{Config, Rotation};
use crate::demotion::Demotions;
use crate::entry::{Entry, Life};
use crate::error::{LookupError, LookupErrorKind};
use crate::flights::Flights;
use crate::name::{Folded, Key, is_localhost, is_never_found, is_valid, literal};
use crate::outcome::Leftovers;
use crate::probe::{Probe, Served};
use crate::random::Random;
use crate::stats::{Counters, DnsStats, count};

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
    localhost: Arc<Entry>,
    pub(crate) random: Random,
}

impl Cache {
    pub(crate) fn new(config: Config, now: Instant) -> Self {
        let counters = Arc::<Counters>::default();
        let localhost = [
            IpAddr::V6(Ipv6Addr::LOCALHOST),
            IpAddr::V4(Ipv4Addr::LOCALHOST),
        ];
        let localhost = localhost.map(|ip| SocketAddr::new(ip, 0)).to_vec();
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
            localhost: Arc::new(Entry::fixed(localhost, now)),
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
            None if is_valid(name) => Probe::Ask { stale: None },
            None => Probe::Done(Served::failed(
                LookupError::new(LookupErrorKind::InvalidName).of(name.into(), Duration::ZERO),
                "negative",
            )),
        }
    }

    /// What needs no cache: addresses, overrides, and the names of RFC 6761.
    fn before_cache(&self, name: &str, now: Instant) -> Option<Served> {
        if let Some(ip) = literal(name) {
            count(&self.counters.literals);
            return Some(Served::ok(Addrs::literal(ip), None));
        }
        if let Some(entry) = self.config.overrides.find(name) {
            count(&self.counters.overridden);
            return Some(if entry.addrs.is_empty() {
                Served::failed(not_found(name), "negative")
            } else {
                Served::ok(
                    self.serve(Arc::clone(entry), now, Freshness::Fresh),
                    Some("hit"),
                )
            });
        }
        if is_localhost(name) {
            count(&self.counters.literals);
            let localhost = Arc::clone(&self.localhost);
            return Some(Served::ok(
                self.serve(localhost, now, Freshness::Fresh),
                None,
            ));
        }
        is_never_found(name).then(|| Served::failed(not_found(name), "negative"))
    }

    fn judge(&self, entry: Arc<Entry>, now: Instant) -> Probe {
        let life = entry.life(now);
        let (counter, event, refresh) = match life {
            Life::Fresh => (&self.counters.fresh, "hit", false),
            Life::RefreshAhead => (&self.counters.fresh, "hit", entry.claim_refresh(now)),
            Life::Revalidate => (
                &self.counters.revalidated,
                "stale",
                entry.claim_refresh(now),
            ),
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
        let result = Ok(self.serve(entry, now, freshness));
        Probe::Done(Served {
            result,
            event: Some(event),
            refresh,
        })
    }

    /// The entry's addresses in the order in which this caller should try them.
    pub(crate) fn serve(&self, entry: Arc<Entry>, now: Instant, freshness: Freshness) -> Addrs {
        let usage = &entry.usage;
        let served = usage.served.fetch_add(1, Relaxed);
        usage.last_used.store(self.millis(now), Relaxed);
        let start = match self.config.rotation {
            Rotation::RoundRobin => usage.seed.wrapping_add(served),
            Rotation::Random => self.random.next(),
            Rotation::AsResolved => 0,
        };
        let of = |len: usize| if len < 2 { 0 } else { start % len };
        let starts = (of(entry.split), of(entry.addrs.len() - entry.split));
        let order = self.demotions.order(&entry, starts, now);
        Addrs::rotated(entry, starts, order, freshness)
    }

    /// A stale answer to a caller whose lookup failed or took too long.
    pub(crate) fn serve_stale(&self, entry: Arc<Entry>, now: Instant) -> Addrs {
        count(&self.counters.stale);
        let age = entry.age(now);
        self.serve(entry, now, Freshness::Stale { age })
    }

    /// Whether `name` is one that only a backend can know.
    pub(crate) fn needs_backend(&self, name: &str) -> bool {
        is_valid(name)
            && literal(name).is_none()
            && self.config.overrides.find(name).is_none()
            && !is_localhost(name)
            && !is_never_found(name)
    }

    pub(crate) fn stats(&self) -> DnsStats {
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
        crate::interleave::point();
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
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
        evicted.push(entry);
    }
}
