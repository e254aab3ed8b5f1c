//! One lookup under way.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::addresses::answer::Answer;
use crate::cache::Cache;
use crate::cache::flights::{Flights, Outcome, Waiters};
use crate::cache::outcome::Leftovers;
use crate::entries::entry::Entry;
use crate::values::error::{LookupError, LookupErrorKind};
use crate::values::name::Key;

/// The right and duty to answer for a name: settled once, or abandoned when dropped.
pub(crate) struct Flight {
    cache: Arc<Cache>,
    pub(crate) key: Key,
    waiters: Arc<Waiters>,
    settled: bool,
}

impl Flight {
    pub(crate) fn new(cache: Arc<Cache>, key: Key, waiters: Arc<Waiters>) -> Self {
        Self {
            cache,
            key,
            waiters,
            settled: false,
        }
    }

    pub(crate) fn add_waiter(&self) -> oneshot::Receiver<Outcome> {
        self.waiters.add()
    }

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
        // First: the drop must not answer again, whatever happens below.
        self.settled = true;
        let cache = Arc::clone(&self.cache);
        let (outcome, delta, leftovers) = {
            let mut flights = cache.flights_locked();
            self.land(&mut flights);
            // Off the table in the turn that writes the entry: a caller that misses meanwhile finds
            // the flight or its answer.
            let is_current = self.leave_table(&mut flights);
            // Overtaken by an invalidation it is compared with nothing, and nothing of it is
            // written: those that wait for it get their answer all the same.
            let old = is_current.then(|| cache.map.peek(&self.key)).flatten();
            let old = old.unwrap_or_else(|| Arc::new(Entry::empty(now)));
            let (entry, outcome, delta) = cache.outcome(&old, result, now);
            let mut leftovers = match entry {
                Some(entry) if is_current => cache.put_locked(self.key.clone(), entry),
                _ => Leftovers::new(),
            };
            // Also where no entry takes its place, as after a refusal: a refresh may be claimed
            // anew.
            old.refreshing.store(false, Relaxed);
            leftovers.push(old);
            (outcome, delta, leftovers)
        };
        // With the lock open: a backend's error may go with an entry, and its destructor is foreign
        // code.
        drop(leftovers);
        // Sent before those that wait are woken: the change is there when the first of them dials
        // by it.
        cache.announce(&self.key, delta);
        // Emptied after the flight is off the table, by which callers find it: none is added to the
        // list any more and then forgotten.
        for waiter in self.waiters.take() {
            // A caller that went away needs no answer.
            drop(waiter.send(outcome.clone()));
        }
        outcome.ok()
    }

    pub(crate) fn waiters(&self) -> &Arc<Waiters> {
        &self.waiters
    }

    /// A flight that was given up is not counted any more.
    fn land(&self, flights: &mut Flights) {
        if !self.waiters.lost.load(Relaxed) {
            flights.live -= 1;
        }
    }

    /// Returns true if the flight was still the one that counts.
    fn leave_table(&self, flights: &mut Flights) -> bool {
        let is_current = flights
            .table
            .get(&self.key)
            // By identity: since an invalidation the name may have another flight.
            .is_some_and(|waiters| Arc::ptr_eq(waiters, &self.waiters));
        if is_current {
            flights.table.remove(&self.key);
        }
        is_current
    }
}

impl Drop for Flight {
    /// The task ended without a result: the backend panicked, which waiting callers get, or
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
            self.land(&mut flights);
            self.leave_table(&mut flights);
            // The claim of a refresh that came to nothing, or none would ever be claimed again.
            cache.unclaim_locked(&self.key);
        }
        // With the lock open: their channels close, which wakes those that wait.
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
