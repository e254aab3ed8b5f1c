//! The map of all limits of one service. No Tower in here.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use foldhash::fast::RandomState;
use tokio::time::Instant;
use tollgate_admission::{Gate, GateConfig, GateStats};
use tollgate_core::Origin;

use crate::common::Common;
use crate::keys::Scheme;
use crate::slot::Slot;

/// Below this many keys none is looked through for being unused.
const SWEEP_FROM: usize = 64;

/// All limits of one service.
#[expect(unnameable_types, reason = "it shows only in a sealed trait")]
pub struct Limiter<K: Scheme> {
    scheme: K,
    common: Arc<Common>,
    /// Whose key is nothing: the whole service, or requests without an origin.
    shared: Arc<Slot>,
    /// Guards which keys there are and what new ones begin with. A gate may be locked under it,
    /// never the other way round. Of foreign code, only the key's `Hash` and `Eq` run under it.
    keys: RwLock<Keys<K::Key>>,
}

struct Keys<Q> {
    config: GateConfig,
    closed: bool,
    slots: HashMap<Q, Arc<Slot>, RandomState>,
    sweep_at: usize,
    /// The totals of keys that were forgotten.
    forgotten: GateStats,
}

impl<K: Scheme> Limiter<K> {
    pub(crate) fn new(scheme: K, config: GateConfig, common: Arc<Common>) -> Self {
        Self {
            scheme,
            shared: Arc::new(Slot::new(config, Arc::clone(&common), None)),
            common,
            keys: RwLock::new(Keys {
                config,
                closed: false,
                slots: HashMap::default(),
                sweep_at: SWEEP_FROM,
                forgotten: GateStats::default(),
            }),
        }
    }

    pub(crate) const fn scheme(&self) -> &K {
        &self.scheme
    }

    pub(crate) const fn common(&self) -> &Arc<Common> {
        &self.common
    }

    pub(crate) const fn shared(&self) -> &Arc<Slot> {
        &self.shared
    }

    fn read(&self) -> RwLockReadGuard<'_, Keys<K::Key>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Keys<K::Key>> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn find<Q>(&self, key: &Q) -> Option<Arc<Slot>>
    where
        K::Key: Borrow<Q> + Eq + Hash,
        Q: Eq + Hash + ?Sized,
    {
        self.read().slots.get(key).map(Arc::clone)
    }

    pub(crate) fn insert(&self, key: K::Key, origin: Option<Origin>) -> Arc<Slot>
    where
        K::Key: Eq + Hash,
    {
        let mut keys = self.write();
        let unused = keys.sweep_locked();
        let slot = match keys.slots.get(&key) {
            Some(slot) => Arc::clone(slot),
            None => keys.insert_locked(key, &self.common, origin),
        };
        drop(keys);
        drop(unused);
        slot
    }

    pub(crate) fn keys(&self) -> Vec<(K::Key, GateStats)>
    where
        K::Key: Clone,
    {
        let keys = self.read();
        let of = |(key, slot): (&K::Key, &Arc<Slot>)| (key.clone(), slot.stats());
        keys.slots.iter().map(of).collect()
    }

    pub(crate) fn total(&self) -> GateStats {
        let keys = self.read();
        let mut total = keys.forgotten;
        total.limit = keys.config.limit.get();
        add(&mut total, &self.shared.stats());
        for slot in keys.slots.values() {
            add(&mut total, &slot.stats());
        }
        total
    }

    pub(crate) fn reconfigure(&self, limit: NonZeroUsize) {
        let mut keys = self.write();
        keys.config.limit = limit;
        let config = keys.config;
        self.change_locked(keys, |gate, now| gate.reconfigure(now, config));
    }

    pub(crate) fn close(&self) {
        let mut keys = self.write();
        keys.closed = true;
        self.change_locked(keys, Gate::drain);
    }

    /// Changes every gate, then unlocks, then wakes.
    fn change_locked(
        &self,
        keys: RwLockWriteGuard<'_, Keys<K::Key>>,
        change: impl Fn(&mut Gate, Instant) + Copy,
    ) {
        let slots = keys.slots.values().chain([&self.shared]);
        let wakes: Vec<_> = slots.map(|slot| slot.change(change)).collect();
        drop(keys);
        drop(wakes);
        self.common.changed();
    }
}

impl<K: Scheme + fmt::Debug> fmt::Debug for Limiter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter")
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}

impl<Q: Eq + Hash> Keys<Q> {
    fn insert_locked(&mut self, key: Q, common: &Arc<Common>, origin: Option<Origin>) -> Arc<Slot> {
        let slot = Arc::new(Slot::new(self.config, Arc::clone(common), origin));
        if self.closed {
            drop(slot.change(Gate::drain));
        }
        self.slots.insert(key, Arc::clone(&slot));
        slot
    }

    /// Takes out the keys that nobody uses, once there are twice as many as were in use last time:
    /// a step per new key, and never more than twice the keys in use (or [`SWEEP_FROM`]).
    fn sweep_locked(&mut self) -> Vec<(Q, Arc<Slot>)> {
        if self.slots.len() < self.sweep_at {
            return Vec::new();
        }
        // Clones of a slot are made under the lock: one that is alone now stays so.
        let unused = |_: &Q, slot: &mut Arc<Slot>| Arc::strong_count(slot) == 1;
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
    sum.totals.demands += stats.totals.demands;
    sum.totals.granted += stats.totals.granted;
    sum.totals.refused += stats.totals.refused;
    sum.totals.failed += stats.totals.failed;
    sum.totals.timed_out += stats.totals.timed_out;
    sum.totals.cancelled += stats.totals.cancelled;
    sum.totals.queued += stats.totals.queued;
    sum.totals.queued_peak = sum.totals.queued_peak.max(stats.totals.queued_peak);
    sum.totals.waited += stats.totals.waited;
}
