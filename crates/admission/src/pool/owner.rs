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
    /// An open has ended without an outcome, because the runtime that it ran on ended, or because the next
    /// one is to go another way. No request fails: the first that waits is woken, to start another where
    /// *it* runs.
    pub fn open_abandoned(&mut self, now: Instant) {
        self.open_ended();
        self.back_off.open_abandoned();
        // One for one open: its poll shows the owner a runtime that is driven, where the next is
        // started.
        self.queue.wake_head(&mut self.effects);
        self.cover(now);
    }

    /// Closes the connections that have been idle since `at` or longer.
    pub fn retire_idle_until(&mut self, at: Instant, reason: CloseReason) {
        // From the oldest on: the first that has idled for less ends it.
        while let Some((id, _)) = self
            .resources
            .oldest_idle()
            .filter(|(_, since)| *since <= at)
        {
            self.retire(id, reason);
        }
    }

    /// The number of places that its connections hold in a [`Total`](crate::Total): opening, open, or
    /// closing and not gone yet. Connections that drain beside their replacement hold none, up to
    /// [`PoolConfig::max_draining`](crate::PoolConfig::max_draining): an origin whose only connection
    /// drains could not replace it otherwise.
    pub fn places(&self) -> usize {
        self.occupied()
    }

    /// The number of connections that are being closed and hold a place, and the number of those that
    /// close when their last lease ends on behalf of another origin: the places on their way to who
    /// waits in a [`Total`](crate::Total).
    pub const fn yielding(&self) -> (usize, usize) {
        self.resources.yielding()
    }

    /// The number of requests in the queue.
    #[inline]
    pub const fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Returns true if nothing can follow from the queue: it is empty, and no spare connection is
    /// wanted.
    #[inline]
    pub const fn is_unasked(&self) -> bool {
        self.queue.is_empty() && self.upkeep.spare() == 0
    }

    /// The number of connections, whatever becomes of them, and of opens.
    #[inline]
    pub const fn sockets(&self) -> usize {
        self.resources.len() + self.opening
    }

    /// The number of live connections of one lease each: HTTP/1's.
    pub fn single_lease(&self) -> usize {
        self.resources.single_lease()
    }
}
