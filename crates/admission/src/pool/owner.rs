//! What an owner of real connections needs besides.

use tokio::time::Instant;
use tollgate_core::CloseReason;

use crate::pool::{Pool, ResourceId};

impl ResourceId {
    /// A small number that no other connection of the same pool has at the same time: the index of
    /// a table of the owner's. Later connections get it again.
    pub const fn index(self) -> usize {
        self.0.index as usize
    }
}

impl<E: Clone> Pool<E> {
    /// An open has ended without an outcome, because the runtime that it ran on ended. Nobody fails:
    /// whoever waits first is woken, to start another where *it* runs.
    pub fn open_abandoned(&mut self, now: Instant) {
        self.open_ended();
        self.back_off.open_abandoned();
        self.queue.wake_head(&mut self.effects);
        self.cover(now);
    }

    /// Closes the connections that have been idle since `at` or longer.
    pub fn retire_idle_until(&mut self, at: Instant, reason: CloseReason) {
        while let Some((id, _)) = self
            .resources
            .oldest_idle()
            .filter(|(_, since)| *since <= at)
        {
            self.retire(id, reason);
        }
    }

    /// How many connections there are: opening, open, draining, or closing and not gone yet. So many
    /// places it holds in a [`Total`](crate::Total).
    pub const fn places(&self) -> usize {
        self.resources.len() + self.opening
    }
}
