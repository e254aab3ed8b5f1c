//! The connections, the idle among them, and their gauges.

use tollgate_core::CloseReason;

use crate::list::{Linked, List};
use crate::pool::resource::{Resource, ResourceId, ResourceInfo, ResourceState};
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
    /// What those in `shared` offer, all together.
    streams: usize,
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
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.all.len()
    }

    /// How many take no more leases and live beside their replacement.
    #[inline]
    pub(crate) const fn draining(&self) -> usize {
        self.draining
    }

    /// How many leases those of many offer, all together.
    #[inline]
    pub(crate) const fn streams(&self) -> usize {
        self.streams
    }

    /// How many are idle.
    pub(crate) const fn idle(&self) -> usize {
        self.idle.len()
    }

    /// Those that live beside their replacement.
    pub(crate) const fn beside(&self) -> usize {
        self.beside
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

    /// Whether a lease that was reserved on it is still worth having: it is live, or it drains for
    /// no worse reason than its age.
    pub(crate) fn keeps_reservations(&self, id: ResourceId) -> bool {
        self.get(id).is_some_and(|resource| match resource.state {
            ResourceState::Live => true,
            ResourceState::Retiring(reason) => {
                matches!(reason, CloseReason::MaxAge | CloseReason::MaxRequests)
            }
            ResourceState::Closing(_) => false,
        })
    }

    /// What is open within the limit: live, or retiring with its one lease.
    #[inline]
    pub(crate) const fn open(&self) -> usize {
        self.all.len() - self.closing - self.draining
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = ResourceInfo> {
        let all = self.all.iter();
        all.map(|(key, resource)| resource.info(ResourceId(key)))
    }

    pub(crate) const fn any_live(&self) -> bool {
        self.live > 0
    }

    /// The name of some connection at or after an index, and where to look for the next.
    pub(crate) fn next_from(&self, mut at: u32) -> Option<(ResourceId, u32)> {
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
        resource.served += 1;
        self.leases += 1;
        if resource.links().is_linked() {
            self.idle.unlink(&mut self.all, id.0.index);
        }
        reused
    }

    /// Ends a lease; `None` if there is no such connection or lease.
    #[inline]
    pub(crate) fn end_lease(&mut self, id: ResourceId) -> Option<&mut Resource> {
        let resource = self.all.get_mut(id.0)?;
        resource.leases = resource.leases.checked_sub(1)?;
        self.leases -= 1;
        Some(resource)
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
        let was_live = resource.is_live();
        if resource.leases > 0 {
            resource.state = ResourceState::Retiring(reason);
            if was_live && resource.shared {
                resource.beside = true;
                self.beside += 1;
                self.draining += 1;
            }
        } else {
            resource.state = ResourceState::Closing(reason);
            self.closing += 1;
            self.draining -= usize::from(resource.beside);
        }
        let closing = resource.leases == 0;
        if was_live {
            self.leave_live(id);
        }
        closing
    }

    fn leave_live(&mut self, id: ResourceId) {
        self.live -= 1;
        let index = id.0.index;
        let resource = self.all.at(index);
        if resource.shared {
            self.shared.retain(|&each| each != index);
            self.streams -= resource.capacity;
        }
        if resource.links().is_linked() {
            self.idle.unlink(&mut self.all, index);
        }
    }

    /// Forgets a connection with whatever leases are out on it.
    pub(crate) fn remove(&mut self, id: ResourceId) -> Option<Resource> {
        if self.get(id)?.is_live() {
            self.leave_live(id);
        }
        let resource = self.all.remove(id.0)?;
        self.leases -= resource.leases;
        match resource.state {
            ResourceState::Live => {}
            ResourceState::Retiring(_) => self.draining -= usize::from(resource.beside),
            ResourceState::Closing(_) => self.closing -= 1,
        }
        self.beside -= usize::from(resource.beside);
        Some(resource)
    }
}
