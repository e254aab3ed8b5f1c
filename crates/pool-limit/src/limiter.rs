//! The map of all limits of one service. No Tower in here.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::num::NonZeroUsize;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use tokio::time::Instant;
use tollgate_admission::{Gate, GateConfig, GateStats};
use tollgate_core::lock::{read, write};
use tollgate_core::{Origin, QueueOrder};

use crate::common::Common;
use crate::slot::Slot;

/// Below this many keys none is looked through for being unused.
const SWEEP_FROM: usize = 64;

/// All limits of one service.
pub(crate) struct Limiter<Q> {
    common: Arc<Common>,
    /// Whose key is nothing: the whole service, or requests without an origin.
    shared: Arc<Slot>,
    /// Guards which keys there are and what new ones begin with. A gate may be locked under it,
    /// never the other way round. Of foreign code, only the key's `Hash` and `Eq` run under it.
    keys: RwLock<Keys<Q>>,
    hasher: RandomState,
}

struct Keys<Q> {
    config: GateConfig,
    closed: bool,
    slots: HashTable<(Q, Arc<Slot>)>,
    sweep_at: usize,
    /// The totals of keys that were forgotten.
    forgotten: GateStats,
}

impl<Q> Limiter<Q> {
    pub(crate) fn new(config: GateConfig, common: Arc<Common>) -> Self {
        Self {
            shared: Arc::new(Slot::new(config, Arc::clone(&common), None)),
            common,
            keys: RwLock::new(Keys {
                config,
                closed: false,
                slots: HashTable::new(),
                sweep_at: SWEEP_FROM,
                forgotten: GateStats::default(),
            }),
            hasher: RandomState::default(),
        }
    }

    pub(crate) const fn common(&self) -> &Arc<Common> {
        &self.common
    }

    pub(crate) const fn shared(&self) -> &Arc<Slot> {
        &self.shared
    }

    fn read(&self) -> RwLockReadGuard<'_, Keys<Q>> {
        read(&self.keys)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Keys<Q>> {
        write(&self.keys)
    }

    pub(crate) fn keys(&self) -> Vec<(Q, GateStats)>
    where
        Q: Clone,
    {
        let keys = self.read();
        let of = |(key, slot): &(Q, Arc<Slot>)| (key.clone(), slot.stats());
        keys.slots.iter().map(of).collect()
    }

    pub(crate) fn total(&self) -> GateStats {
        let keys = self.read();
        let mut total = keys.forgotten;
        total.limit = keys.config.limit.get();
        add(&mut total, &self.shared.stats());
        for (_, slot) in &keys.slots {
            add(&mut total, &slot.stats());
        }
        total
    }

    pub(crate) fn reconfigure(&self, limit: NonZeroUsize) {
        let mut keys = self.write();
        // In the turn that changes the gates: a key that is met in between would keep the old
        // limit.
        keys.config.limit = limit;
        let config = keys.config;
        self.change_locked(keys, |gate, now| gate.reconfigure(now, config));
    }

    pub(crate) fn close(&self) {
        let mut keys = self.write();
        // In the same turn, likewise: a key that is met from here on is born closed.
        keys.closed = true;
        self.change_locked(keys, Gate::drain);
    }

    /// Takes back the places that were reserved and not collected in time.
    pub(crate) fn lapse(&self) {
        self.change_locked(self.write(), Gate::tick);
    }

    /// Changes every gate, then unlocks, then wakes.
    fn change_locked(
        &self,
        keys: RwLockWriteGuard<'_, Keys<Q>>,
        change: impl Fn(&mut Gate, Instant) + Copy,
    ) {
        let keyed = keys.slots.iter().map(|(_, slot)| slot);
        let slots = keyed.chain([&self.shared]);
        // Kept until the unlock: a waker may poll its task at once, which may lock the keys.
        let wakes: Vec<_> = slots.map(|slot| slot.change(change)).collect();
        drop(keys);
        drop(wakes);
        self.common.changed();
    }
}

impl<Q: Eq + Hash> Limiter<Q> {
    /// The slot of the key that hashes as `key` does and that `is_it` picks: it may be a borrowed form.
    pub(crate) fn find(&self, key: &impl Hash, is_it: impl Fn(&Q) -> bool) -> Option<Arc<Slot>> {
        let hash = self.hasher.hash_one(key);
        let keys = self.read();
        let known = keys.slots.find(hash, |(known, _)| is_it(known));
        // Cloned under the lock: a slot that is in use is never taken for unused.
        known.map(|(_, slot)| Arc::clone(slot))
    }

    pub(crate) fn insert(&self, key: Q, origin: Option<Origin>) -> Arc<Slot> {
        let hash = self.hasher.hash_one(&key);
        let mut keys = self.write();
        // Before this key's own slot is cloned: unused it goes too, and is made anew.
        let unused = keys.sweep_locked();
        let known = keys.slots.find(hash, |(known, _)| *known == key);
        let slot = known.map(|(_, slot)| Arc::clone(slot));
        let slot = slot.unwrap_or_else(|| {
            let slot = keys.slot_locked(&self.common, origin);
            let entry = (key, Arc::clone(&slot));
            keys.slots
                .insert_unique(hash, entry, |(key, _)| self.hasher.hash_one(key));
            slot
        });
        // Unlocked before what was swept is dropped: a key's destructor is the caller's code.
        drop(keys);
        drop(unused);
        slot
    }
}

impl<Q> fmt::Debug for Limiter<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").finish_non_exhaustive()
    }
}

impl<Q> Keys<Q> {
    fn slot_locked(&self, common: &Arc<Common>, origin: Option<Origin>) -> Arc<Slot> {
        let slot = Arc::new(Slot::new(self.config, Arc::clone(common), origin));
        if self.closed {
            drop(slot.change(Gate::drain));
        }
        slot
    }

    /// Takes out the keys that are not in use, once there are twice as many as were in use last time:
    /// a step per new key, and never more than twice the keys in use (or [`SWEEP_FROM`]).
    fn sweep_locked(&mut self) -> Vec<(Q, Arc<Slot>)> {
        if self.slots.len() < self.sweep_at {
            return Vec::new();
        }
        // Clones of a slot are made under the lock: one that is alone now stays so.
        let unused = |(_, slot): &mut (Q, Arc<Slot>)| Arc::strong_count(slot) == 1;
        let unused: Vec<_> = self.slots.extract_if(unused).collect();
        for (_, slot) in &unused {
            add(&mut self.forgotten, &slot.stats());
        }
        self.sweep_at = SWEEP_FROM.max(2 * self.slots.len());
        unused
    }
}

fn add(sum: &mut GateStats, stats: &GateStats) {
    sum.in_flight += stats.in_flight;
    sum.queued += stats.queued;
    sum.unanswered += stats.unanswered;
    if stats.order == QueueOrder::Newest {
        sum.order = QueueOrder::Newest;
    }
    sum.totals.demands += stats.totals.demands;
    sum.totals.granted += stats.totals.granted;
    sum.totals.refused += stats.totals.refused;
    sum.totals.failed += stats.totals.failed;
    sum.totals.timed_out += stats.totals.timed_out;
    sum.totals.late += stats.totals.late;
    sum.totals.cancelled += stats.totals.cancelled;
    sum.totals.granted_late += stats.totals.granted_late;
    sum.totals.served += stats.totals.served;
    sum.totals.turns += stats.totals.turns;
    sum.totals.queued += stats.totals.queued;
    sum.totals.queued_peak = sum.totals.queued_peak.max(stats.totals.queued_peak);
    sum.totals.waited += stats.totals.waited;
}
