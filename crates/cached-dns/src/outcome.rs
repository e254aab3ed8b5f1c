//! What an answer, "not found" or a failure makes of an entry; and every write to the map.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::answer::Answer;
use crate::cache::Cache;
use crate::changes::{Delta, all_absent, compare};
use crate::entry::{Entry, Failure};
use crate::error::{LookupError, LookupErrorKind};
use crate::flights::Outcome;
use crate::name::Key;
use crate::stats::count;
use crate::times::{Times, grouped, later};

/// What a write pushed out of the map.
pub(crate) type Leftovers = Vec<Arc<Entry>>;

impl Cache {
    /// Writes an entry. What it pushes out goes to the caller, who lets go of the lock first: it
    /// may hold the last of a backend's error, whose drop is other people's code.
    pub(crate) fn put_locked(&self, key: Key, entry: Arc<Entry>) -> Leftovers {
        let mut leftovers: Leftovers = self.map.peek(&key).into_iter().collect();
        self.map.insert_with_lifecycle(key, entry, &mut leftovers);
        leftovers
    }

    /// Forgets what is known of `name`, but for the addresses to compare the next answer with.
    /// Whether anything was known.
    pub(crate) fn invalidate(&self, name: &str, now: Instant) -> bool {
        let key = Key::new(name);
        let (overtaken, leftovers) = {
            let mut flights = self.flights_locked();
            let overtaken = flights.table.remove(&key);
            let leftovers = self.map.peek(&key).map(|old| {
                let entry = Entry {
                    absent: all_absent(&old),
                    usage: old.usage.carried_over(),
                    ..Entry::empty(now)
                };
                let leftovers = self.put_locked(key, Arc::new(entry));
                (old, leftovers)
            });
            (overtaken, leftovers)
        };
        overtaken.is_some() || leftovers.is_some()
    }

    /// Replaces an answer of which one family was late, if it is still the latest. Returns the entry
    /// that the whole one makes.
    pub(crate) fn complete(
        &self,
        key: &Key,
        partial: &Arc<Entry>,
        answer: Answer,
        now: Instant,
    ) -> Arc<Entry> {
        let (entry, delta, leftovers) = {
            let _flights = self.flights_locked();
            let (entry, delta) = self.found(partial, answer, now);
            match self.map.peek(key) {
                Some(current) if Arc::ptr_eq(&current, partial) => {}
                _ => return entry,
            }
            let leftovers = self.put_locked(key.clone(), Arc::clone(&entry));
            (entry, delta, leftovers)
        };
        drop(leftovers);
        self.announce(key, delta);
        entry
    }

    /// What a result makes of an entry, and what it tells those who wait.
    pub(crate) fn outcome(
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
            usage.seed = self.random.next();
        }
        let lifetime = self.jittered(self.config.lifetime(answer.ttl, answer.complete), 10);
        let refresh_at = match self.config.refresh_at {
            per_cent @ ..100 => lifetime / 100 * u32::from(per_cent),
            _ => lifetime,
        };
        let entry = Entry {
            addrs,
            split,
            times: Times::of(now, lifetime, refresh_at, &self.config),
            absent,
            awaited: answer.awaited,
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
        let failures = old.failure.as_ref().map_or(0, |failure| failure.count);
        let count = failures.saturating_add(1);
        // ± 20 %: at most 20 % more, less up to a third of that.
        let wait = self.config.backoff_after(count);
        let wait = if self.config.jitter {
            self.jittered(wait.saturating_add(wait / 5), 33)
        } else {
            wait
        };
        let (error, until) = (error.clone(), later(now, wait));
        Arc::new(old.failed(Failure {
            count,
            error,
            until,
        }))
    }

    fn jittered(&self, time: Duration, per_cent: u32) -> Duration {
        if self.config.jitter {
            self.random.shortened(time, per_cent)
        } else {
            time
        }
    }

    pub(crate) fn announce(&self, key: &Key, delta: Delta) {
        if let Some(change) = delta.into_change(key.to_arc()) {
            count(&self.counters.changes);
            // Nobody listening is fine.
            drop(self.changes.send(change));
        }
    }
}
