//! Lookups under way: one per name, owned by nobody who waits for it.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::answer::Answer;
use crate::cache::{Cache, Probe, Served};
use crate::changes::{Delta, all_absent, compare};
use crate::entry::{Entry, Failure, Times, grouped};
use crate::error::{LookupError, LookupErrorKind};
use crate::name::Key;
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
    fn add(&self) -> oneshot::Receiver<Outcome> {
        let (sender, receiver) = oneshot::channel();
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        // Callers that come and go while a slow lookup runs do not pile up.
        if list.len() == list.capacity() {
            list.retain(|waiter| !waiter.is_closed());
        }
        list.push(sender);
        receiver
    }

    fn take(&self) -> Vec<oneshot::Sender<Outcome>> {
        std::mem::take(&mut *self.list.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The right and duty to answer for a name: settled once, or abandoned when dropped.
pub(crate) struct Flight {
    cache: Arc<Cache>,
    pub(crate) key: Key,
    waiters: Arc<Waiters>,
    settled: bool,
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
        Joined::Starting(flight.waiters.add(), flight)
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

    /// Forgets what is known of `name`, but for the addresses to compare the next answer with.
    /// Whether anything was known.
    pub(crate) fn invalidate(&self, name: &str, now: Instant) -> bool {
        let key = Key::new(name);
        let mut flights = self.flights_locked();
        let overtaken = flights.table.remove(&key);
        let Some(old) = self.map.peek(&key) else {
            return overtaken.is_some();
        };
        if old.is_answered() {
            let entry = Entry {
                absent: all_absent(&old),
                usage: old.usage.carried_over(),
                ..Entry::empty(now)
            };
            self.map.insert(key, Arc::new(entry));
        } else {
            self.map.remove(&key);
        }
        true
    }

    /// Replaces an answer of which one family was late, if it is still the latest.
    pub(crate) fn complete(&self, key: &Key, partial: &Arc<Entry>, answer: Answer, now: Instant) {
        let (entry, delta) = {
            let _flights = self.flights_locked();
            match self.map.peek(key) {
                Some(current) if Arc::ptr_eq(&current, partial) => {}
                _ => return,
            }
            let (entry, delta) = self.found(partial, answer, now);
            self.map.insert(key.clone(), Arc::clone(&entry));
            (entry, delta)
        };
        drop(entry);
        self.announce(key, delta);
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
        Flight {
            cache: Arc::clone(self),
            key,
            waiters,
            settled: false,
        }
    }

    /// The entry that an answer with addresses makes.
    fn found(&self, old: &Entry, answer: Answer, now: Instant) -> (Arc<Entry>, Delta) {
        let (mut addrs, mut split) = grouped(answer.addrs);
        let (delta, absent) = compare(old, &addrs, answer.complete);
        let is_same = addrs.len() == old.addrs.len() && addrs.iter().all(|a| old.addrs.contains(a));
        // Another order of the same addresses must not disturb the rotation.
        if is_same && split == old.split {
            (addrs, split) = (old.addrs.clone(), old.split);
        }
        let mut usage = old.usage.carried_over();
        if !old.is_answered() {
            usage.seed = self.random_usize();
        }
        let lifetime = self.less_jitter(self.config.lifetime(answer.ttl, answer.complete), 10);
        let refresh_at = lifetime / 100 * u32::from(self.config.refresh_at.min(100));
        let entry = Entry {
            addrs,
            split,
            times: Times::of(now, lifetime, refresh_at, &self.config),
            absent,
            usage,
            ..Entry::empty(now)
        };
        (Arc::new(entry), delta)
    }

    /// The entry that "not found" makes: it replaces older answers, however good they were.
    fn not_found(&self, old: &Entry, error: &LookupError, now: Instant) -> (Arc<Entry>, Delta) {
        let ttl = match error.kind() {
            LookupErrorKind::NotFound { ttl } => ttl,
            _ => None,
        };
        let lifetime = self.config.negative_lifetime(ttl);
        let (delta, absent) = compare(old, &[], true);
        let entry = Entry {
            negative: Some(error.clone()),
            times: Times::of(now, lifetime, lifetime, &self.config),
            absent,
            usage: old.usage.carried_over(),
            ..Entry::empty(now)
        };
        (Arc::new(entry), delta)
    }

    /// The entry that a failure makes: what was known, and when to ask again.
    fn failed(&self, old: &Entry, error: &LookupError, now: Instant) -> Arc<Entry> {
        let count = old.failure.as_ref().map_or(0, |failure| failure.count) + 1;
        let wait = self.config.backoff_after(count);
        // ± 20 %: at most 20 % more, less up to 40 % of the whole.
        let wait = if self.config.jitter {
            self.less_jitter(wait + wait / 5, 33)
        } else {
            wait
        };
        let (error, until) = (error.clone(), now + wait);
        Arc::new(old.failed(Failure {
            count,
            error,
            until,
        }))
    }

    pub(crate) fn announce(&self, key: &Key, delta: Delta) {
        if let Some(change) = delta.into_change(key.to_arc()) {
            count(&self.counters.changes);
            // Nobody listening is fine.
            drop(self.changes.send(change));
        }
    }

    fn unclaim_locked(&self, key: &Key) {
        if let Some(entry) = self.map.peek(key) {
            entry.refreshing.store(false, Relaxed);
        }
    }
}

impl Flight {
    pub(crate) fn started(&self) -> Instant {
        self.waiters.since
    }

    /// Writes the result into the cache and tells those who wait. Returns the new entry, if it has
    /// addresses.
    pub(crate) fn settle(
        mut self,
        result: Result<Answer, LookupError>,
        now: Instant,
    ) -> Option<Arc<Entry>> {
        let elapsed = now.saturating_duration_since(self.started());
        let result = result
            .and_then(addresses_or_not_found)
            .map_err(|error| error.of(self.key.to_arc(), elapsed));
        self.finish(result, now)
    }

    fn finish(&mut self, result: Result<Answer, LookupError>, now: Instant) -> Option<Arc<Entry>> {
        self.settled = true;
        let cache = Arc::clone(&self.cache);
        let (outcome, delta) = {
            let mut flights = cache.flights_locked();
            flights.live -= 1;
            let is_current = self.leave_table(&mut flights);
            let old = is_current.then(|| cache.map.peek(&self.key)).flatten();
            let old = old.unwrap_or_else(|| Arc::new(Entry::empty(now)));
            let (entry, outcome, delta) = cache.outcome(&old, result, now);
            if let (true, Some(entry)) = (is_current, entry) {
                cache.map.insert(self.key.clone(), entry);
            } else {
                old.refreshing.store(false, Relaxed);
            }
            (outcome, delta)
        };
        cache.announce(&self.key, delta);
        for waiter in self.waiters.take() {
            // A caller that went away needs no answer.
            drop(waiter.send(outcome.clone()));
        }
        outcome.ok()
    }

    /// Whether the flight was still the one that counts.
    fn leave_table(&self, flights: &mut Flights) -> bool {
        let is_current = flights
            .table
            .get(&self.key)
            .is_some_and(|waiters| Arc::ptr_eq(waiters, &self.waiters));
        if is_current {
            flights.table.remove(&self.key);
        }
        is_current
    }
}

impl Cache {
    /// What a result makes of an entry, and what it tells those who wait.
    fn outcome(
        &self,
        old: &Entry,
        result: Result<Answer, LookupError>,
        now: Instant,
    ) -> (Option<Arc<Entry>>, Outcome, Delta) {
        let error = match result {
            Ok(answer) => {
                let (entry, delta) = self.found(old, answer, now);
                return (Some(Arc::clone(&entry)), Ok(entry), delta);
            }
            Err(error) => error.with_stale(!old.addrs.is_empty()),
        };
        match error.kind() {
            LookupErrorKind::NotFound { .. } => {
                let (entry, delta) = self.not_found(old, &error, now);
                (Some(entry), Err(error), delta)
            }
            // That says nothing about the name.
            LookupErrorKind::Overloaded => (None, Err(error), Delta::default()),
            _ => (
                Some(self.failed(old, &error, now)),
                Err(error),
                Delta::default(),
            ),
        }
    }
}

impl Drop for Flight {
    /// The task ended without a result: the backend panicked, which those who wait are told, or
    /// the task's runtime is gone, and they find their channel closed and start again elsewhere.
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        if std::thread::panicking() {
            let error = LookupError::new(LookupErrorKind::Transient);
            let error = error.with_source("the resolver panicked");
            let error = error.of(self.key.to_arc(), Duration::ZERO);
            let now = Instant::now();
            self.finish(Err(error), now);
            return;
        }
        let cache = Arc::clone(&self.cache);
        {
            let mut flights = cache.flights_locked();
            flights.live -= 1;
            self.leave_table(&mut flights);
            cache.unclaim_locked(&self.key);
        }
        drop(self.waiters.take());
    }
}

fn addresses_or_not_found(answer: Answer) -> Result<Answer, LookupError> {
    let not_found = LookupErrorKind::NotFound { ttl: answer.ttl };
    if answer.addrs.is_empty() {
        Err(LookupError::new(not_found))
    } else {
        Ok(answer)
    }
}
