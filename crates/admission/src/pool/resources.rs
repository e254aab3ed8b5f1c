//! The connections, the idle among them, and their gauges.

use std::mem;

use tokio::time::Instant;
use tollgate_core::CloseReason;

use crate::list::{Linked, List};
use crate::pool::resource::{Drain, Resource, ResourceId, ResourceInfo, ResourceState};
use crate::slab::Slab;

/// Every connection that holds a place. A live one without leases is in the idle list, newest
/// first; a live one of many leases is in `shared`.
#[derive(Debug)]
pub(crate) struct Resources {
    pub(super) all: Slab<Resource>,
    pub(super) idle: List,
    pub(super) shared: Vec<u32>,
    leases: usize,
    live: usize,
    /// In state `Closing`.
    closing: usize,
    /// Draining, or closing after that.
    beside: usize,
    /// Draining.
    draining: usize,
    /// The leases that those in `shared` offer, all together.
    streams: usize,
    /// Live ones whose replacement may be opened beside them.
    staying: usize,
    /// Closing, and in the place they were opened in.
    yielding: usize,
    /// Of many leases, to be closed for another origin when their last lease ends.
    giving_way: usize,
    /// Live ones whose one lease is about to come back.
    ending: usize,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Gauges {
    pub(crate) open: usize,
    pub(crate) idle: usize,
    pub(crate) leases: usize,
    pub(crate) draining: usize,
    pub(crate) closing: usize,
}

impl Resources {
    pub(crate) const fn new() -> Self {
        Self {
            all: Slab::new(),
            idle: List::new(),
            shared: Vec::new(),
            leases: 0,
            live: 0,
            closing: 0,
            beside: 0,
            draining: 0,
            streams: 0,
            staying: 0,
            yielding: 0,
            giving_way: 0,
            ending: 0,
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.all.len()
    }

    /// Returns the number that take no more leases and live beside their replacement.
    #[inline]
    pub(crate) const fn draining(&self) -> usize {
        self.draining
    }

    /// Returns the number of leases that those of many offer, all together.
    #[inline]
    pub(crate) const fn streams(&self) -> usize {
        self.streams
    }

    /// Returns the number that are idle.
    pub(crate) const fn idle(&self) -> usize {
        self.idle.len()
    }

    /// Those that live beside their replacement.
    pub(crate) const fn beside(&self) -> usize {
        self.beside
    }

    /// Those that are closing and hold a place, and those that give way when their last lease ends.
    pub(crate) const fn yielding(&self) -> (usize, usize) {
        (self.yielding, self.giving_way)
    }

    /// The live ones of one lease each.
    pub(crate) fn single_lease(&self) -> usize {
        self.live - self.shared.len()
    }

    pub(crate) fn gauges(&self) -> Gauges {
        Gauges {
            open: self.open(),
            idle: self.idle.len(),
            leases: self.leases,
            draining: self.draining,
            closing: self.closing,
        }
    }

    #[inline]
    pub(crate) fn get(&self, id: ResourceId) -> Option<&Resource> {
        self.all.get(id.0)
    }

    /// Returns true if a lease that was reserved on it is still worth having: it is live, or it
    /// drains for no worse reason than its age.
    pub(crate) fn keeps_reservations(&self, id: ResourceId) -> bool {
        self.get(id).is_some_and(|resource| match resource.state {
            ResourceState::Live => true,
            ResourceState::Retiring(reason) => {
                matches!(reason, CloseReason::MaxAge | CloseReason::MaxRequests)
            }
            ResourceState::Closing(_) => false,
        })
    }

    /// Returns the number open within the limit: live, or retiring with its one lease.
    #[inline]
    pub(crate) const fn open(&self) -> usize {
        self.all.len() - self.closing - self.draining
    }

    /// Returns the number open within the limit and without a replacement beside them.
    #[inline]
    pub(crate) const fn open_in_place(&self) -> usize {
        self.open() - self.staying
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = ResourceInfo> {
        let all = self.all.iter();
        all.map(|(key, resource)| resource.info(ResourceId(key)))
    }

    pub(crate) const fn any_live(&self) -> bool {
        self.live > 0
    }

    /// Returns the number that take leases.
    #[inline]
    pub(crate) const fn live(&self) -> usize {
        self.live
    }

    /// The name of some connection at or after an index, and where to look for the next.
    pub(crate) fn next_from(&self, mut at: u32) -> Option<(ResourceId, u32)> {
        // By index and not by an iterator: each step changes the pool, and none removes a
        // connection.
        while at < self.all.end() {
            if self.all.is_live(at) {
                return Some((ResourceId(self.all.key(at)), at + 1));
            }
            at += 1;
        }
        None
    }

    /// Adds a connection that is neither idle nor leased yet.
    pub(crate) fn insert(&mut self, resource: Resource) -> ResourceId {
        let (shared, capacity) = (resource.shared, resource.capacity);
        let key = self.all.insert(resource);
        self.live += 1;
        if shared {
            self.shared.push(key.index);
            self.streams += capacity;
        }
        ResourceId(key)
    }

    /// It offers so many leases from now on, and counts as one of many. `None` if there is no such
    /// connection; whether it is live.
    pub(crate) fn offer(&mut self, id: ResourceId, capacity: usize) -> Option<bool> {
        let resource = self.all.get_mut(id.0)?;
        let live = resource.is_live();
        if live {
            if resource.shared {
                self.streams -= resource.capacity;
            } else {
                // Only the single lease of a connection spares a dial by coming back.
                self.ending -= usize::from(mem::take(&mut resource.ending));
                // For good: an HTTP/2 connection that offers one stream now may offer more at any
                // time.
                resource.shared = true;
                self.shared.push(id.0.index);
            }
            self.streams += capacity;
        }
        resource.capacity = capacity;
        Some(live)
    }

    /// Takes a lease; tells whether the connection had served before.
    #[inline]
    pub(crate) fn lease(&mut self, id: ResourceId) -> bool {
        let resource = self.all.at_mut(id.0.index);
        debug_assert!(resource.has_room(), "a lease is taken where there is room");
        let reused = resource.served > 0;
        resource.leases += 1;
        // With the lease and not with its end: those that are out at once count towards
        // `max_served` too.
        resource.served += 1;
        self.leases += 1;
        // Off the idle with its first lease: the oldest idle is closed for other origins, and this
        // one would be under its exchange.
        if resource.links().is_linked() {
            self.idle.unlink(&mut self.all, id.0.index);
        }
        reused
    }

    /// Ends a lease; `None` if there is no such connection or lease.
    #[inline]
    pub(crate) fn end_lease(&mut self, id: ResourceId) -> Option<&mut Resource> {
        let resource = self.all.get_mut(id.0)?;
        // A lease too many ends nothing: the sum of the leases would go wrong for good (A10).
        resource.leases = resource.leases.checked_sub(1)?;
        self.leases -= 1;
        self.ending -= usize::from(mem::take(&mut resource.ending));
        Some(resource)
    }

    /// Its one lease is about to come back, to serve the next.
    pub(crate) fn end_soon(&mut self, id: ResourceId) {
        let Some(resource) = self.all.get_mut(id.0) else {
            return;
        };
        // What ends with its lease serves none of those that wait, and must not put off their dial.
        let serves_on = resource.is_live() && resource.served < resource.max_served;
        if serves_on && !resource.shared && resource.leases > 0 && !resource.ending {
            resource.ending = true;
            self.ending += 1;
        }
    }

    /// Returns the number whose one lease is about to come back.
    #[inline]
    pub(crate) const fn ending(&self) -> usize {
        self.ending
    }

    /// Takes no more leases on it. `true` if it is to be closed now, else it is when its last
    /// lease ends.
    ///
    /// Live → Closing (no leases) | Retiring; Retiring → Closing (no leases).
    pub(crate) fn retire(&mut self, id: ResourceId, reason: CloseReason) -> bool {
        let Some(resource) = self.all.get_mut(id.0) else {
            return false;
        };
        let reason = match resource.state {
            ResourceState::Live => reason,
            ResourceState::Retiring(first) => first,
            ResourceState::Closing(_) => return false,
        };
        // Off the live ones first: `begin_close` counts it among the closing, and in both it would
        // break the gauges (A10).
        let was_live = resource.is_live();
        if resource.leases == 0 {
            if was_live {
                self.leave_live(id);
            }
            self.begin_close(id, reason);
            return true;
        }
        resource.state = ResourceState::Retiring(reason);
        if was_live {
            if resource.shared {
                // One that gives way to another origin keeps its place: that is what it gives.
                let gives_way = reason == CloseReason::Reclaimed;
                self.giving_way += usize::from(gives_way);
                self.leave_live(id);
                self.drain_beside(id, !gives_way);
            } else {
                self.leave_live(id);
            }
        }
        false
    }

    fn drain_beside(&mut self, id: ResourceId, beside: bool) {
        let resource = self.all.at_mut(id.0.index);
        resource.drain = Drain::Untimed;
        self.draining += 1;
        if beside && !resource.beside {
            resource.beside = true;
            self.beside += 1;
        }
    }

    /// Closes it, whatever leases are out on it.
    fn begin_close(&mut self, id: ResourceId, reason: CloseReason) {
        let resource = self.all.at_mut(id.0.index);
        // The counts of the old state, while it can be read.
        if resource.gives_way() {
            self.giving_way -= 1;
        }
        self.draining -= usize::from(resource.drains());
        resource.drain = Drain::No;
        resource.state = ResourceState::Closing(reason);
        self.closing += 1;
        self.yielding += usize::from(!resource.beside);
    }

    /// Closes one that drains, and the exchanges that are left on it; the reason it drained for.
    pub(crate) fn cut(&mut self, id: ResourceId) -> Option<CloseReason> {
        let ResourceState::Retiring(reason) = self.get(id)?.state else {
            return None;
        };
        self.begin_close(id, reason);
        Some(reason)
    }

    /// Returns the time until which a draining connection has; `limit` if that is not set yet.
    /// `None` for one that does not drain, or has for ever.
    pub(crate) fn drain_until(
        &mut self,
        id: ResourceId,
        limit: impl FnOnce() -> Option<Instant>,
    ) -> Option<Instant> {
        let resource = self
            .all
            .get_mut(id.0)
            .filter(|resource| resource.drains())?;
        // `idle_until` has no other use in this state.
        if resource.drain == Drain::Untimed {
            resource.drain = Drain::Timed;
            resource.idle_until = limit();
        }
        resource.idle_until
    }

    /// Its replacement may be opened beside it, while it still serves.
    pub(crate) fn mark_beside(&mut self, id: ResourceId) {
        let resource = self.all.at_mut(id.0.index);
        if !resource.beside {
            resource.beside = true;
            self.beside += 1;
            self.staying += 1;
        }
    }

    fn leave_live(&mut self, id: ResourceId) {
        self.live -= 1;
        let index = id.0.index;
        let resource = self.all.at_mut(index);
        self.ending -= usize::from(mem::take(&mut resource.ending));
        // It stays counted in `beside` until it is gone: only that it serves there is over.
        self.staying -= usize::from(resource.beside);
        if resource.shared {
            // A short list: the HTTP/2 connections of one origin.
            self.shared.retain(|&each| each != index);
            self.streams -= resource.capacity;
        }
        if resource.links().is_linked() {
            self.idle.unlink(&mut self.all, index);
        }
    }

    /// Forgets a connection with whatever leases are out on it.
    pub(crate) fn remove(&mut self, id: ResourceId) -> Option<Resource> {
        // While it is in the slab: the lists run through its entry.
        if self.get(id)?.is_live() {
            self.leave_live(id);
        }
        let resource = self.all.remove(id.0)?;
        // Leases that are still out on it find nothing to end later.
        self.leases -= resource.leases;
        // Each state has counts of its own.
        match resource.state {
            ResourceState::Live => {}
            ResourceState::Retiring(_) => {
                self.draining -= usize::from(resource.drains());
                self.giving_way -= usize::from(resource.gives_way());
            }
            ResourceState::Closing(_) => {
                self.closing -= 1;
                self.yielding -= usize::from(!resource.beside);
            }
        }
        self.beside -= usize::from(resource.beside);
        Some(resource)
    }
}
