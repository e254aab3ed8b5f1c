//! The way of a lease: out, back, and on to the next.

use tokio::time::Instant;
use tollgate_core::CloseReason;

use crate::list::Linked;
use crate::pool::resource::{Gone, Resource, ResourceState, Returned};
use crate::pool::{Lease, Pool, ResourceId};
use crate::queue::earlier;

impl<E: Clone> Pool<E> {
    /// Takes a lease where there is room.
    #[inline]
    pub(super) fn check_out(&mut self, now: Instant) -> Option<Lease> {
        let resource = self.room(now)?;
        let reused = self.resources.lease(resource);
        self.retire_if_exhausted(resource);
        Some(Lease { resource, reused })
    }

    /// A connection with room, after retiring what has outlived its time.
    #[inline]
    pub(super) fn room(&mut self, now: Instant) -> Option<ResourceId> {
        loop {
            let resource = self.resources.pick()?;
            let found = self.resources.get(resource)?;
            match found.outlived(now, found.leases == 0) {
                None => return Some(resource),
                Some(reason) => self.retire(resource, reason),
            }
        }
    }

    /// A lease has ended. It goes to the head of the queue, if the connection may still be used,
    /// else the connection idles or is closed.
    ///
    /// An unknown connection is one that is gone; its leases went with it.
    #[inline]
    pub fn lease_returned(&mut self, resource: ResourceId, now: Instant, returned: Returned) {
        let known = self.resources.get(resource).is_some();
        let Some(ended) = self.resources.end_lease(resource) else {
            debug_assert!(!known, "each lease is returned once");
            return;
        };
        match returned {
            Returned::Reusable {
                idle_for,
                remaining_uses,
            } => {
                let timeout = self.config.idle_timeout;
                let idle_for = idle_for.map_or(timeout, |hint| {
                    let longest = timeout.map(|limit| limit.max(self.config.idle_hint_max));
                    Some(longest.map_or(hint, |longest| hint.min(longest)))
                });
                let idle_until = idle_for.and_then(|idle_for| now.checked_add(idle_for));
                ended.idle_since = now;
                ended.idle_until = earlier(idle_until, ended.expires);
                if let Some(remaining) = remaining_uses {
                    let allowed = ended.served.saturating_add(remaining);
                    ended.max_served = ended.max_served.min(allowed);
                }
                self.settle(resource, now, true);
            }
            Returned::Unused => {
                ended.served -= 1;
                self.settle(resource, now, false);
            }
            Returned::Retire(reason) => self.retire(resource, reason),
        }
    }

    /// Finds the next thing to do for a connection that has got room: serve who waits, idle, or
    /// end. `fresh` says that it has just done something, so that it was not idle.
    #[inline]
    pub(super) fn settle(&mut self, id: ResourceId, now: Instant, fresh: bool) {
        if let Some(reason) = self.must_end(id, now, fresh) {
            return self.retire(id, reason);
        }
        if !self.queue.is_empty() {
            self.serve(id, now);
        }
        let max_idle = self.config.max_idle;
        let Some(resource) = self.resources.get(id) else {
            return;
        };
        if resource.leases > 0 || resource.links().is_linked() {
            return;
        }
        let idle_until = resource.idle_until;
        if idle_until.is_some_and(|at| at <= now) {
            self.retire(id, CloseReason::Idle);
        } else if self.resources.idle() >= max_idle {
            self.retire(id, CloseReason::MaxIdle);
        } else {
            if fresh {
                self.resources.rest(id);
            } else {
                self.resources.rest_unused(id);
            }
            self.upkeep.at(idle_until);
        }
    }

    /// Why a connection must take no further lease, if so.
    #[inline]
    fn must_end(&self, id: ResourceId, now: Instant, fresh: bool) -> Option<CloseReason> {
        let resource = self.resources.get(id)?;
        if let ResourceState::Retiring(reason) | ResourceState::Closing(reason) = resource.state {
            return Some(reason);
        }
        if self.closed {
            return Some(CloseReason::Shutdown);
        }
        if resource.served >= resource.max_served {
            let own = self.config.max_requests;
            let own = own.is_some_and(|max| resource.served >= max.get());
            return Some(if own {
                CloseReason::MaxRequests
            } else {
                CloseReason::PeerClose
            });
        }
        if self.is_over_limit() {
            return Some(CloseReason::MaxIdle);
        }
        resource.outlived(now, !fresh && resource.leases == 0)
    }

    /// Gives the room on a connection to those who wait, in their order.
    pub(super) fn serve(&mut self, id: ResourceId, now: Instant) {
        while self.resources.get(id).is_some_and(Resource::has_room) {
            let resources = &mut self.resources;
            let lease = || Lease {
                resource: id,
                reused: resources.lease(id),
            };
            if !self.queue.reserve(now, lease, &mut self.effects) {
                break;
            }
            self.retire_if_exhausted(id);
        }
        self.cover(now);
    }

    /// A connection of many leases that has given its last one drains, and makes room for its
    /// replacement; one of a single lease ends when that is returned.
    #[inline]
    fn retire_if_exhausted(&mut self, id: ResourceId) {
        let found = self.resources.get(id);
        if found.is_some_and(|found| found.shared && found.served >= found.max_served) {
            self.retire(id, CloseReason::MaxRequests);
        }
    }

    /// Whether more is open than the limit allows, which was lowered.
    #[inline]
    pub(super) fn is_over_limit(&self) -> bool {
        self.resources.open() + self.opening > self.config.max_open.get()
    }

    /// The number of leases that a connection offers has changed: what an HTTP/2 peer allows.
    ///
    /// A smaller number takes nothing away from those who have a lease; with 0 the connection
    /// stays, and offers nothing.
    pub fn credit_changed(&mut self, resource: ResourceId, now: Instant, capacity: usize) {
        let told = self.told();
        let Some(live) = self.resources.offer(resource, capacity) else {
            return;
        };
        if live {
            self.learn(capacity);
            self.settle(resource, now, false);
            self.cover(now);
        }
        self.note_if_other_than(told);
    }

    /// Takes no more leases on a connection. It is closed now if it has none, else when the last
    /// one ends.
    pub fn retire(&mut self, resource: ResourceId, reason: CloseReason) {
        let told = self.told();
        if self.resources.retire(resource, reason)
            && let Some(found) = self.resources.get(resource)
            && let ResourceState::Closing(reason) = found.state
        {
            self.effects.close(resource, reason);
        }
        self.note_if_other_than(told);
    }

    /// What the owner tells others of, and is to look at when it changes.
    pub(super) const fn told(&self) -> (usize, usize) {
        (self.draining(), self.streams())
    }

    pub(super) fn note_if_other_than(&mut self, before: (usize, usize)) {
        if self.told() != before {
            self.effects.note();
        }
    }

    /// The connection's socket is gone: its place is free (A1). The leases that are still out on
    /// it mean nothing any more. `None` if it was gone already.
    ///
    /// `reason` is why, unless the pool closed it for a reason of its own.
    pub fn resource_gone(
        &mut self,
        resource: ResourceId,
        now: Instant,
        reason: CloseReason,
    ) -> Option<Gone> {
        let told = self.told();
        let gone = self.resources.remove(resource)?;
        self.note_if_other_than(told);
        self.counts.closed += 1;
        let reason = match gone.state {
            ResourceState::Live => reason,
            ResourceState::Retiring(own) | ResourceState::Closing(own) => own,
        };
        Some(Gone {
            reason,
            age: now.saturating_duration_since(gone.created),
            served: gone.served,
        })
    }
}
