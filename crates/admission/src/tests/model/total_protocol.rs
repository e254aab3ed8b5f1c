//! What an owner does by the protocol of [`Total`](crate::Total), and what must be so after it.

use super::total::World;
use crate::{Acquire, Machine};

impl World {
    /// Closes the oldest idle connection of all, while more wait than are made way for.
    pub(super) fn reclaim(&mut self) {
        while self.total.is_short() {
            let idle = self
                .pools
                .iter_mut()
                .filter(|origin| origin.pool.oldest_idle().is_some());
            let oldest = idle.min_by_key(|origin| origin.pool.oldest_idle());
            let Some(oldest) = oldest else {
                return;
            };
            assert!(oldest.pool.reclaim_oldest_idle());
            self.inputs.note("reclaimed");
            self.count_yields();
        }
    }

    /// A place is free; whoever gets it starts an open or passes it on.
    pub(super) fn release(&mut self) {
        self.inputs.note("release");
        self.count_yields();
        self.total.release(1);
        while let Some(at) = self.total.take_free() {
            if self.pools[at].pool.start_open(self.now) {
                self.pools[at].opening += 1;
            } else {
                self.total.release(1);
            }
        }
    }

    /// Tells how many connections of each origin are being closed.
    pub(super) fn count_yields(&mut self) {
        for origin in &mut self.pools {
            let to = origin.pool.yielding();
            self.total.yields(origin.yielding, to);
            origin.yielding = to;
        }
    }

    /// What the owner does after every call: notes closes, and starts what is wanted.
    pub(super) fn settle(&mut self) {
        for at in 0..self.pools.len() {
            let mut effects = self.pools[at].pool.take_effects();
            while let Some((id, _)) = effects.next_close() {
                self.pools[at].sockets.insert(id, true);
            }
            while self.pools[at].pool.wants_open(self.now) {
                if !self.start(at) {
                    break;
                }
            }
        }
        self.count_yields();
        for (at, origin) in self.pools.iter().enumerate() {
            if self.total.is_blocking() && !origin.pool.wants_open(self.now) {
                self.inputs.note("withdraw");
                self.total.withdraw(&at);
            }
        }
        self.reclaim();
        // Reclaiming closes what belongs to pools already looked at.
        for origin in &mut self.pools {
            let mut effects = origin.pool.take_effects();
            while let Some((id, _)) = effects.next_close() {
                origin.sockets.insert(id, true);
            }
        }
    }

    pub(super) fn start(&mut self, at: usize) -> bool {
        self.inputs.note("acquire");
        let origin = &mut self.pools[at];
        let since = origin.pool.open_wanted_since(self.now);
        let since = since.unwrap_or(self.now);
        let holds_none = origin.pool.places() == 0;
        match self.total.acquire(&at, since, holds_none) {
            Acquire::Taken if origin.pool.start_open(self.now) => origin.opening += 1,
            Acquire::Taken => self.release(),
            Acquire::Wait | Acquire::StillWaiting => return false,
        }
        true
    }

    pub(super) fn check(&self) {
        let mut places = 0;
        for origin in &self.pools {
            origin.pool.check();
            assert_eq!(origin.pool.places(), origin.sockets.len() + origin.opening);
            places += origin.pool.places();
        }
        assert_eq!(self.total.held(), places, "A8: no place is lost or doubled");
        assert!(places <= self.total.max().get(), "A1: over all origins");
        let full = places == self.total.max().get();
        assert!(
            full || !self.total.is_blocking(),
            "A8: nobody waits for a free place"
        );
        if self.total.is_short() {
            let idle = self
                .pools
                .iter()
                .any(|origin| origin.pool.oldest_idle().is_some());
            assert!(!idle, "A8: an idle connection is not kept from who waits");
        }
    }
}
