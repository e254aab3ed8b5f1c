//! The entry that an answer, "not found" or a failure makes; and every write to the map.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::addresses::answer::Answer;
use crate::addresses::changes::{Absent, Delta, all_absent, compare};
use crate::addresses::group::Group;
use crate::cache::Cache;
use crate::cache::flights::Outcome;
use crate::cache::stats::count;
use crate::entries::entry::{Entry, Failure};
use crate::values::error::{LookupError, LookupErrorKind};
use crate::values::name::Key;
use crate::values::ttl::{Times, later};

/// After 1, 2, 4, 8 and 16 s.
const CONFIRMED: u32 = 5;

/// The entries that a write evicted from the map.
pub(crate) type Leftovers = Vec<Arc<Entry>>;

impl Cache {
    /// Writes an entry. What it pushes out goes to the caller, who lets go of the lock first: it
    /// may hold the last of a backend's error, whose drop is other people's code.
    pub(crate) fn put_locked(&self, key: Key, entry: Arc<Entry>) -> Leftovers {
        // A reference to what is replaced: the map drops its own under its lock, which must not be
        // the last.
        let mut leftovers: Leftovers = self.map.peek(&key).into_iter().collect();
        self.map.insert_with_lifecycle(key, entry, &mut leftovers);
        leftovers
    }

    /// Forgets what is known of `name`, but for the addresses to compare the next answer with.
    /// Returns true if anything was known.
    pub(crate) fn invalidate(&self, name: &str, now: Instant) -> bool {
        let key = Key::new(name);
        let (overtaken, leftovers) = {
            let mut flights = self.flights_locked();
            // Off the table it goes on for those that wait for it, and writes nothing.
            let overtaken = flights.table.remove(&key);
            let leftovers = self.map.peek(&key).map(|old| {
                let entry = Entry {
                    // Without addresses, but with the counters: the hits and the rotation go on
                    // where they stood.
                    addrs: Arc::new(Group::default().after(&old.addrs)),
                    absent: all_absent(&old.addrs, &old.absent),
                    usage: old.usage.carried_over(),
                    ..Entry::empty(now)
                };
                let leftovers = self.put_locked(key, Arc::new(entry));
                (old, leftovers)
            });
            (overtaken, leftovers)
        };
        // What was taken out is dropped from here on, with the lock open.
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
            // Made whether it is stored or not: the dials that wait for it get the whole all the
            // same.
            let (entry, delta) = self.found(partial, answer, now);
            match self.map.peek(key) {
                // Anything else is newer: another answer, or what an invalidation made.
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

    /// Returns the entry that a result makes, and the outcome for waiting callers.
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
        let error = if is_doubtful(old, &error, now) {
            // As a failure: the good answer stays, and the back-off counts how often this was
            // repeated.
            LookupError::new(LookupErrorKind::Transient)
                .of(error.host().into(), error.elapsed())
                .with_stale(true)
                .with_source(error)
        } else {
            error
        };
        match error.kind() {
            LookupErrorKind::NotFound { .. } => {
                let (entry, delta) = self.not_found(old, &error, now);
                (Some(entry), Err(error), delta)
            }
            // That is no evidence about the name.
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
        let group = Group::of(answer.addrs);
        let (delta, absent) = compared(old, &group, answer.complete);
        // Another order of the same addresses must not disturb the rotation.
        let addrs = if group.is_same_as(&old.addrs) {
            Arc::clone(&old.addrs)
        } else if old.is_answered() {
            Arc::new(group.after(&old.addrs))
        } else {
            Arc::new(group.after(&old.addrs).seeded(self.random.next()))
        };
        let lifetime = self.jittered(self.config.lifetime(answer.ttl, answer.complete), 10);
        let refresh_at = match self.config.refresh_at {
            // Divided first: the product of the longest lifetime would overflow.
            per_cent @ ..100 => lifetime / 100 * u32::from(per_cent),
            _ => lifetime,
        };
        let entry = Entry {
            addrs,
            times: Times::of(now, lifetime, refresh_at, self.config.stale()),
            absent,
            awaited: answer.awaited,
            usage: old.usage.carried_over(),
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
        let (delta, absent) = compared(old, &[], true);
        let entry = Entry {
            negative: Some(error.clone()),
            addrs: Arc::new(Group::default().after(&old.addrs)),
            times: Times::of(now, lifetime, lifetime, self.config.stale()),
            absent,
            usage: old.usage.carried_over(),
            ..Entry::empty(now)
        };
        (Arc::new(entry), delta)
    }

    /// The entry that a failure makes: what was known, and when to ask again.
    fn failed(&self, old: &Entry, error: &LookupError, now: Instant) -> Arc<Entry> {
        // With other name servers the back-off begins anew.
        let known = old
            .failure
            .as_ref()
            .filter(|failure| !failure.error.is_outdated());
        let failures = known.map_or(0, |failure| failure.count);
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
            // No subscriber is fine.
            drop(self.changes.send(change));
        }
    }
}

/// The changes that an answer brings; the first one brings none.
fn compared(old: &Entry, new: &[SocketAddr], complete: bool) -> (Delta, Box<[Absent]>) {
    if old.is_answered() {
        compare((&old.addrs, &old.absent), new, complete)
    } else {
        Default::default()
    }
}

/// "Not found" from getaddrinfo, which also returns it in an outage, is believed against a good
/// answer only after it was repeated for as long as the back-off takes to reach its longest.
fn is_doubtful(old: &Entry, error: &LookupError, now: Instant) -> bool {
    let failures = old.failure.as_ref().map_or(0, |failure| failure.count);
    error.is_not_found()
        && error.is_unconfirmed()
        && !old.addrs.is_empty()
        && now < old.times.stale_until
        && failures < CONFIRMED
}

#[cfg(test)]
mod tests;
