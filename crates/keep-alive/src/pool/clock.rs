//! The one clock of a pool: idle timeouts, lifetimes, back-offs, stuck uploads, origins to forget.
//!
//! What is due stands in one sorted map for all origins, each with its earliest time. A task on each
//! runtime that has connections sleeps until the first of them, and ends when nothing is due: so what
//! is due on one runtime does not depend on another that is not driven.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use tokio::runtime::{Handle, Id};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tollgate_core::lock::lock;

use crate::pool::origin_pool::OriginPool;
use crate::pool::shared::Shared;

/// The time at which each origin is due, and the tasks that see to it.
#[derive(Default)]
pub(crate) struct Clock {
    /// Guards the map and the list; taken under an origin's lock, never the other way round. Nothing
    /// else happens under it.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By time and the origin's number.
    due: BTreeMap<(Instant, u64), Weak<OriginPool>>,
    keepers: Vec<(Id, Arc<Notify>)>,
    /// The keepers that are at work on what they took out: more may be due when they are done.
    at_work: usize,
    /// The number of times that a keeper has looked at what is due.
    #[cfg(test)]
    turns: u64,
}

impl Clock {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// `pool` is due at `to`, and no longer at `from`. Whether the keepers sleep too long for that.
    pub(super) fn schedule(
        &self,
        pool: &Arc<OriginPool>,
        from: Option<Instant>,
        to: Instant,
    ) -> bool {
        let mut state = self.lock();
        // One entry an origin: the old one would wake a keeper for nothing.
        if let Some(from) = from {
            state.due.remove(&(from, pool.number));
        }
        let key = (to, pool.number);
        state.due.insert(key, Arc::downgrade(pool));
        state
            .due
            .first_key_value()
            .is_some_and(|(first, _)| *first == key)
    }

    /// Makes all keepers look again at what comes next.
    pub(crate) fn poke(&self) {
        // Cloned out: a wake is nothing to do under a lock.
        let keepers = self.lock().keepers.clone();
        for (_, poked) in keepers {
            // Kept for a keeper that does not sleep yet: it looks once more.
            poked.notify_one();
        }
    }

    /// Starts a keeper on the current runtime, if something is due and none is there. Without a runtime
    /// a later call does.
    pub(crate) fn ensure(&self, shared: &Arc<Shared>) {
        if let Ok(runtime) = Handle::try_current() {
            self.ensure_on(&runtime, shared);
        }
    }

    /// Starts a keeper on `runtime`, if something is due and none is there.
    pub(super) fn ensure_on(&self, runtime: &Handle, shared: &Arc<Shared>) {
        let id = runtime.id();
        let mut state = self.lock();
        // Looked at and listed under one lock: two calls would start two keepers on one runtime.
        if state.due.is_empty() || state.keepers.iter().any(|(on, _)| *on == id) {
            return;
        }
        let poked = Arc::new(Notify::new());
        state.keepers.push((id, poked.clone()));
        // Before the task is spawned: a runtime that has ended drops it at once, and its destructor
        // takes this lock.
        drop(state);
        let keeper = Keeper {
            shared: Arc::downgrade(shared),
            poked,
        };
        drop(runtime.spawn(keeper.run()));
    }

    /// The origins that are due, taken out.
    fn take_due(&self, now: Instant) -> Vec<Arc<OriginPool>> {
        let mut state = self.lock();
        #[cfg(test)]
        {
            state.turns += 1;
        }
        // A keeper that retires meanwhile would leave what these make due to none.
        state.at_work += 1;
        let mut pools = Vec::new();
        while let Some(first) = state.due.first_entry()
            && first.key().0 <= now
        {
            // Only taken out: a tick locks its origin, and that lock comes before this one.
            pools.extend(first.remove().upgrade());
        }
        pools
    }

    /// Marks the due origins as done; returns the time at which the next is due.
    fn done(&self) -> Option<Instant> {
        let mut state = self.lock();
        state.at_work -= 1;
        state.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes a keeper off the list, unless something has become due since it looked or may so. The
    /// other keepers look whether they are needed, too.
    fn retire(&self, poked: &Arc<Notify>) -> bool {
        let mut state = self.lock();
        // Under the lock that `schedule` takes: what comes due later finds this keeper off the
        // list, and starts another. Looked at outside, it would be due to none.
        let idle = state.due.is_empty() && state.at_work == 0;
        if idle {
            state.keepers.retain(|(_, one)| !Arc::ptr_eq(one, poked));
            drop(state);
            self.poke();
        }
        idle
    }

    fn lost(&self, poked: &Arc<Notify>) {
        self.lock()
            .keepers
            .retain(|(_, one)| !Arc::ptr_eq(one, poked));
    }

    /// The number of runtimes on which a keeper is known.
    #[cfg(test)]
    pub(crate) fn keepers(&self) -> usize {
        self.lock().keepers.len()
    }

    #[cfg(test)]
    pub(crate) fn turns(&self) -> u64 {
        self.lock().turns
    }
}

/// The keepers hold the pool weakly, and are to notice that it is gone.
impl Drop for Clock {
    fn drop(&mut self) {
        self.poke();
    }
}

/// The clock's task on one runtime.
struct Keeper {
    shared: Weak<Shared>,
    poked: Arc<Notify>,
}

impl Keeper {
    async fn run(self) {
        loop {
            let Some(shared) = self.shared.upgrade() else {
                return;
            };
            let now = Instant::now();
            let due = shared.clock.take_due(now);
            for pool in due {
                pool.tick(now);
            }
            // After all were ticked: they have put in what is due next.
            let next = shared.clock.done();
            if next.is_none() && shared.clock.retire(&self.poked) {
                return;
            }
            // Before it sleeps: a keeper does not keep its pool.
            drop(shared);
            // Elapsed or poked: either way it is time to look.
            match next {
                Some(at) => drop(timeout_at(at, self.poked.notified()).await),
                None => self.poked.notified().await,
            }
        }
    }
}

/// Also when its runtime ends: what is due next starts another, where it comes up.
impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.clock.lost(&self.poked);
        }
    }
}
