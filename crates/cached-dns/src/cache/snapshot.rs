//! The contents of the cache, for a person to read.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;

use crate::cache::Cache;
use crate::cache::flights::Waiters;
use crate::entries::entry::{Entry, Life};
use crate::values::name::Key;

/// The state of one name.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct NameSnapshot {
    /// The name, in lower case.
    pub name: Arc<str>,
    /// The state of its entry.
    pub state: NameState,
    /// Its addresses, fresh or stale.
    pub addrs: Vec<AddrSnapshot>,
    /// The time that the answer is fresh in all.
    pub ttl: Duration,
    /// The time that ago the backend answered.
    pub age: Duration,
    /// The number of times that it was served.
    pub hits: u64,
    /// The time since it was served last; `None` if never.
    pub last_used: Option<Duration>,
    /// The number of failures in a row.
    pub failures: u32,
    /// The last failure, in words.
    pub last_error: Option<String>,
    /// The time since which a query for it is under way.
    pub in_flight: Option<Duration>,
}

/// One address of a name.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct AddrSnapshot {
    /// The address.
    pub addr: SocketAddr,
    /// The time that it will still be tried last.
    pub demoted: Option<Duration>,
}

/// The state of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum NameState {
    /// Within its lifetime.
    Fresh,
    /// Past its lifetime, but still used if need be.
    Stale,
    /// The name does not exist.
    NotFound,
    /// Asking failed, and there is nothing to serve.
    Failed,
    /// Nothing to serve: too old, or invalidated.
    Expired,
}

pub(crate) fn snapshot(cache: &Cache, now: Instant) -> Vec<NameSnapshot> {
    // Copied out first: the lock over the flights is not held while the map's are taken.
    let in_flight: HashMap<Key, Duration> = {
        let flights = cache.flights_locked();
        let since = |waiters: &Waiters| now.saturating_duration_since(waiters.since);
        let each = flights.table.iter();
        each.map(|(key, waiters)| (key.clone(), since(waiters)))
            .collect()
    };
    let name = |(key, entry): (Key, Arc<Entry>)| NameSnapshot {
        in_flight: in_flight.get(&key).copied(),
        ..of_entry(cache, key.to_arc(), &entry, now)
    };
    cache.map.iter().map(name).collect()
}

fn of_entry(cache: &Cache, name: Arc<str>, entry: &Entry, now: Instant) -> NameSnapshot {
    let served = entry.addrs.served() as u64;
    let unused = cache
        .millis(now)
        .saturating_sub(entry.usage.last_used.load(Relaxed));
    let addr = |&addr: &SocketAddr| AddrSnapshot {
        addr,
        demoted: cache.demotions.left(addr, now),
    };
    NameSnapshot {
        name,
        state: match entry.life(now) {
            Life::Fresh | Life::RefreshAhead => NameState::Fresh,
            Life::Revalidate | Life::Expired | Life::StaleOnError => NameState::Stale,
            Life::Negative => NameState::NotFound,
            Life::Failed => NameState::Failed,
            Life::Gone => NameState::Expired,
        },
        addrs: entry.addrs.iter().map(addr).collect(),
        ttl: entry
            .times
            .expires
            .saturating_duration_since(entry.times.born),
        age: entry.age(now),
        hits: served,
        last_used: (served > 0).then_some(Duration::from_millis(unused)),
        failures: entry.failure.as_ref().map_or(0, |failure| failure.count),
        last_error: entry
            .failure
            .as_ref()
            .map(|failure| failure.error.to_string()),
        in_flight: None,
    }
}
