//! Lookups under way: one per name, owned by nobody who waits for it.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::cache::Cache;
use crate::entry::Entry;
use crate::error::{LookupError, LookupErrorKind};
use crate::flight::Flight;
use crate::name::Key;
use crate::probe::{Probe, Served};
use crate::stats::count;

/// What those who wait are told.
pub(crate) type Outcome = Result<Arc<Entry>, LookupError>;

#[derive(Debug, Default)]
pub(crate) struct Flights {
    /// A flight that is not in here any more was overtaken by an invalidation: it may answer those
    /// who wait for it, and may not write into the cache.
    pub(crate) table: HashMap<Key, Arc<Waiters>>,
    /// Flights that have not ended, in the table or not.
    pub(crate) live: usize,
}

#[derive(Debug)]
pub(crate) struct Waiters {
    pub(crate) since: Instant,
    /// Added to with the table locked, taken by the flight that ends.
    list: Mutex<Vec<oneshot::Sender<Outcome>>>,
}

impl Waiters {
    pub(crate) fn add(&self) -> oneshot::Receiver<Outcome> {
        let (sender, receiver) = oneshot::channel();
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        // Callers that come and go while a slow lookup runs do not pile up.
        if list.len() == list.capacity() {
            list.retain(|waiter| !waiter.is_closed());
        }
        list.push(sender);
        receiver
    }

    pub(crate) fn take(&self) -> Vec<oneshot::Sender<Outcome>> {
        #[cfg(test)]
        crate::interleave::point();
        std::mem::take(&mut *self.list.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What became of a lookup that found the cache empty.
pub(crate) enum Joined {
    /// The answer came in the meantime.
    Served(Served),
    Waiting(oneshot::Receiver<Outcome>),
    /// This caller has to start the flight.
    Starting(oneshot::Receiver<Outcome>, Flight),
}

impl Cache {
    /// Waits for the lookup of `name` that is under way, or starts one.
    pub(crate) fn join(self: &Arc<Self>, name: &str, now: Instant) -> Joined {
        let mut flights = self.flights_locked();
        // An answer may have come between the miss and the lock.
        if let Probe::Done(served) = self.probe(name, now) {
            return Joined::Served(served);
        }
        let key = Key::new(name);
        if let Some(waiters) = flights.table.get(&key) {
            count(&self.counters.coalesced);
            return Joined::Waiting(waiters.add());
        }
        if !self.has_room(&flights) {
            count(&self.counters.overloaded);
            let error = LookupError::new(LookupErrorKind::Overloaded);
            let error = error.of(key.to_arc(), Duration::ZERO);
            return Joined::Served(Served::failed(error, "miss"));
        }
        count(&self.counters.misses);
        let flight = self.start_locked(&mut flights, key, now);
        Joined::Starting(flight.add_waiter(), flight)
    }

    /// Starts a lookup that nobody waits for, unless one is under way.
    pub(crate) fn start_refresh(self: &Arc<Self>, name: &str, now: Instant) -> Option<Flight> {
        let key = Key::new(name);
        let mut flights = self.flights_locked();
        if flights.table.contains_key(&key) {
            return None;
        }
        if !self.has_room(&flights) {
            self.unclaim_locked(&key);
            return None;
        }
        count(&self.counters.refreshes);
        Some(self.start_locked(&mut flights, key, now))
    }

    fn has_room(&self, flights: &Flights) -> bool {
        let most = self
            .config
            .max_lookups
            .get()
            .saturating_add(self.config.max_pending);
        flights.live < most
    }

    fn start_locked(self: &Arc<Self>, flights: &mut Flights, key: Key, now: Instant) -> Flight {
        let waiters = Arc::new(Waiters {
            since: now,
            list: Mutex::default(),
        });
        flights.table.insert(key.clone(), Arc::clone(&waiters));
        flights.live += 1;
        Flight::new(Arc::clone(self), key, waiters)
    }

    pub(crate) fn unclaim_locked(&self, key: &Key) {
        if let Some(entry) = self.map.peek(key) {
            entry.refreshing.store(false, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
