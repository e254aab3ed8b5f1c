//! Single-flight: one lookup per name under way, owned by none of its callers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tollgate_core::lock::lock;

use crate::cache::Cache;
use crate::cache::flight::Flight;
use crate::cache::probe::{Probe, Served};
use crate::cache::stats::count;
use crate::entries::entry::Entry;
use crate::values::error::{LookupError, LookupErrorKind};
use crate::values::name::Key;

/// The outcome for the waiting callers of a single-flight lookup: one question for all who ask at once, where
/// each asking for itself would be a thundering herd on the name server.
pub(crate) type Outcome = Result<Arc<Entry>, LookupError>;

#[derive(Debug, Default)]
pub(crate) struct Flights {
    /// A flight that is not in here any more was overtaken by an invalidation: it may answer those
    /// who wait for it, and may not write into the cache.
    pub(crate) table: HashMap<Key, Arc<Waiters>>,
    /// Flights that have not ended, in the table or not.
    pub(crate) live: usize,
    /// The time at which the table is next searched for flights that nothing drives.
    sweep_at: Option<Instant>,
}

#[derive(Debug)]
pub(crate) struct Waiters {
    pub(crate) since: Instant,
    /// Added to with the table locked, taken by the flight that ends.
    list: Mutex<Vec<oneshot::Sender<Outcome>>>,
    /// It is long past its hard stop and was given up: its runtime does not run.
    pub(crate) lost: AtomicBool,
    /// It has one of the places for queries.
    pub(crate) has_permit: AtomicBool,
}

impl Waiters {
    pub(crate) fn add(&self) -> oneshot::Receiver<Outcome> {
        let (sender, receiver) = oneshot::channel();
        let mut list = lock(&self.list);
        // Callers that come and go while a slow lookup runs do not pile up.
        if list.len() == list.capacity() {
            list.retain(|waiter| !waiter.is_closed());
        }
        list.push(sender);
        receiver
    }

    pub(crate) fn take(&self) -> Vec<oneshot::Sender<Outcome>> {
        #[cfg(test)]
        crate::cache::interleave::point();
        std::mem::take(&mut *lock(&self.list))
    }
}

/// The outcome of a lookup that found the cache empty.
pub(crate) enum Joined {
    /// The answer came in the meantime.
    Served(Served),
    /// The flight began at this time.
    Waiting(oneshot::Receiver<Outcome>, Instant),
    /// This caller has to start the flight.
    Starting(oneshot::Receiver<Outcome>, Flight),
}

/// Flights that were given up: their places are to be given back. Dropping them, with the table
/// unlocked, sends those who wait for them to another flight.
pub(crate) type Lost = Vec<Arc<Waiters>>;

/// The time that past its hard stop a flight may be, for a busy machine, before it is given up.
const GRACE: Duration = Duration::from_secs(1);

impl Cache {
    /// Waits for the lookup of `name` that is under way, or starts one.
    pub(crate) fn join(self: &Arc<Self>, name: &str, now: Instant) -> (Joined, Lost) {
        let mut flights = self.flights_locked();
        // An answer may have come between the miss and the lock.
        if let Probe::Done(served) = self.probe(name, now) {
            return (Joined::Served(served), Lost::new());
        }
        let key = Key::new(name);
        // Before it joins: the flight of this name may be one that nothing drives.
        let lost = self.lose_overdue_locked(&mut flights, &key, now);
        (self.join_locked(&mut flights, key, now), lost)
    }

    fn join_locked(self: &Arc<Self>, flights: &mut Flights, key: Key, now: Instant) -> Joined {
        if let Some(waiters) = flights.table.get(&key) {
            count(&self.counters.coalesced);
            // Added with the table locked: a flight leaves the table before it empties its list, so
            // this one is not too late.
            return Joined::Waiting(waiters.add(), waiters.since);
        }
        // After the table: a caller that joins a flight takes no place.
        if !self.has_room(flights) {
            count(&self.counters.overloaded);
            let error = LookupError::new(LookupErrorKind::Overloaded);
            let error = error.of(key.to_arc(), Duration::ZERO);
            return Joined::Served(Served::failed(error, "miss"));
        }
        count(&self.counters.misses);
        let flight = self.start_locked(flights, key, now);
        Joined::Starting(flight.add_waiter(), flight)
    }

    /// Takes flights out of the table whose task should have ended long ago, as when it runs on
    /// a runtime that nothing drives: that of `key` at once, the others once a second. Such a flight
    /// would bar its name, and hold its place, for as long as that runtime exists.
    fn lose_overdue_locked(&self, flights: &mut Flights, key: &Key, now: Instant) -> Lost {
        let is_overdue = |waiters: &Waiters| {
            let age = now.saturating_duration_since(waiters.since);
            age >= self.config.hard_stop.saturating_add(GRACE)
        };
        let is_own_overdue = flights
            .table
            .get(key)
            .is_some_and(|waiters| is_overdue(waiters));
        if !is_own_overdue && flights.sweep_at.is_some_and(|at| now < at) {
            return Lost::new();
        }
        flights.sweep_at = Some(now + GRACE);
        let overdue = flights.table.extract_if(|_, waiters| is_overdue(waiters));
        let lost: Lost = overdue.map(|(_, waiters)| waiters).collect();
        for waiters in &lost {
            // Under the lock, with the count below: its own end, should it come, finds this and
            // counts nothing.
            waiters.lost.store(true, Relaxed);
        }
        flights.live -= lost.len();
        lost
    }

    /// Starts a lookup without a caller, unless one is under way.
    pub(crate) fn start_refresh(
        self: &Arc<Self>,
        name: &str,
        now: Instant,
    ) -> (Option<Flight>, Lost) {
        let key = Key::new(name);
        let mut flights = self.flights_locked();
        let lost = self.lose_overdue_locked(&mut flights, &key, now);
        // A refresh that was claimed stays so: the end of this flight frees it.
        if flights.table.contains_key(&key) {
            return (None, lost);
        }
        if !self.has_room(&flights) {
            // Refused for want of places: a later caller may claim it.
            self.unclaim_locked(&key);
            return (None, lost);
        }
        count(&self.counters.refreshes);
        (Some(self.start_locked(&mut flights, key, now)), lost)
    }

    fn has_room(&self, flights: &Flights) -> bool {
        let most = self
            .config
            .max_lookups
            .get()
            .saturating_add(self.config.max_pending);
        // By what lives, not by the table: a flight that an invalidation took off it still runs.
        flights.live < most
    }

    fn start_locked(self: &Arc<Self>, flights: &mut Flights, key: Key, now: Instant) -> Flight {
        let waiters = Arc::new(Waiters {
            since: now,
            list: Mutex::default(),
            lost: AtomicBool::new(false),
            has_permit: AtomicBool::new(false),
        });
        flights.table.insert(key.clone(), Arc::clone(&waiters));
        flights.live += 1;
        Flight::new(Arc::clone(self), key, waiters)
    }

    pub(crate) fn unclaim_locked(&self, key: &Key) {
        // Peeked, as by all but lookups: a `get` counts as use, and keeps an entry from eviction.
        if let Some(entry) = self.map.peek(key) {
            entry.refreshing.store(false, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
