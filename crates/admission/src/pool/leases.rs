//! The way of a lease: out, back, and on to the next.

use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::{CloseReason, QueueOrder};

use crate::list::Linked;
use crate::pool::growth::Growth;
use crate::pool::resource::{Gone, Resource, ResourceState, Returned};
use crate::pool::{Lease, Pool, ResourceId};
use crate::queue::earlier;

/// The time that a request waits for a lease that is about to come back before an open is started for
/// it: a task that has lost its processor for a turn of the scheduler or two is back by then. A choice;
/// with 5 ms, 2 of 1,000 clients on two busy cores dialled in vain, with 45 ms none.
pub(super) const ENDS_WITHIN: Duration = Duration::from_millis(10);

impl<E: Clone> Pool<E> {
    /// Takes a lease where there is room.
    #[inline]
    pub(super) fn check_out(&mut self, now: Instant) -> Option<Lease> {
        let resource = self.room(now)?;
        let reused = self.resources.lease(resource);
        // After the lease, which may be the last that it gives: with that out it drains, and is not
        // closed.
        self.retire_if_exhausted(resource);
        Some(Lease { resource, reused })
    }

    /// A connection with room, after retiring what has outlived its time.
    #[inline]
    pub(super) fn room(&mut self, now: Instant) -> Option<ResourceId> {
        loop {
            let resource = self.resources.pick()?;
            let found = self.resources.get(resource)?;
            // At each hand-over, not only at ticks: a timer may be late, and the peer's own is not.
            match found.outlived(now, found.leases == 0) {
                None => return Some(resource),
                Some(_) if self.must_stay(resource, now) => {
                    self.want_replacement(resource);
                    return Some(resource);
                }
                Some(reason) => self.retire(resource, reason),
            }
        }
    }

    /// The one lease of a connection is about to come back: its exchange is over but for a moment of
    /// the connection's own. Until it does, one of those that wait has no open started for it, for
    /// 10 ms or a little longer.
    pub fn lease_ending(&mut self, resource: ResourceId, now: Instant) {
        self.resources.end_soon(resource);
        // Those that wait have no open of their own meanwhile: without this look one would never be
        // started, should the lease not come back.
        if !self.queue.is_empty() {
            self.look_after_endings(now);
        }
    }

    /// Opens that wait since then for a lease to come back are looked at when that has taken too long.
    pub(super) fn look_after_endings(&mut self, since: Instant) {
        if self.resources.ending() > 0 {
            self.upkeep.at(since.checked_add(ENDS_WITHIN));
        }
    }

    /// The number of leases that are about to come back, as long as it is worth waiting for them.
    pub(super) fn ending(&self, now: Instant) -> usize {
        let waits = |since| now.saturating_duration_since(since) < ENDS_WITHIN;
        match self.resources.ending() {
            0 => 0,
            ending if self.queue.head_since().is_some_and(waits) => ending,
            _ => 0,
        }
    }

    /// A lease has ended. It goes to the head of the queue, if the connection may still be used,
    /// else the connection idles or is closed.
    ///
    /// An unknown connection is one that is gone; its leases went with it.
    #[inline]
    pub fn lease_returned(&mut self, resource: ResourceId, now: Instant, returned: Returned) {
        let known = self.resources.get(resource).is_some();
        // By generation: a lease on a connection that is gone ends none of its successor's.
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
                    let longest = timeout.map(|limit| limit.max(self.config.keep_alive_hint_max));
                    Some(longest.map_or(hint, |longest| hint.min(longest)))
                });
                let idle_until = idle_for.and_then(|idle_for| now.checked_add(idle_for));
                // A whole exchange proves that the peer bears one more (A14).
                let first = !std::mem::replace(&mut ended.proved, true);
                // Before `settle`, which would retire it as idle by the times of its last rest.
                ended.idle_since = now;
                // One time for both limits, so that one look finds it.
                ended.idle_until = earlier(idle_until, ended.expires);
                if let Some(remaining) = remaining_uses {
                    let allowed = ended.served.saturating_add(remaining);
                    // Lowered alone: the pool's own limit stands, whatever the peer grants.
                    ended.max_served = ended.max_served.min(allowed);
                }
                if first {
                    self.growth.served(self.resources.live());
                }
                self.settle(resource, now, true);
            }
            Returned::Unused => {
                // Nothing was sent: it is no use of the connection.
                ended.served -= 1;
                self.settle(resource, now, false);
            }
            Returned::Retire(reason) => {
                // A caller that leaves costs a connection, and the next one a dial: within a
                // budget, or leavers would have the pool dial for ever.
                if matches!(reason, CloseReason::Cancelled | CloseReason::BodyDropped) {
                    let cap = self.cap();
                    self.upkeep.at(self.churn.spend(now, cap));
                }
                self.retire(resource, reason);
            }
        }
    }

    /// Finds the next thing to do for a connection that has got room: serve who waits, idle, or
    /// end. `fresh` means that it has just done something, so that it was not idle.
    #[inline]
    pub(super) fn settle(&mut self, id: ResourceId, now: Instant, fresh: bool) {
        // Before it serves: a lease on one that must end would be taken back at once.
        if let Some(reason) = self.must_end(id, now, fresh) {
            return self.retire(id, reason);
        }
        // Before it idles: among the idle a newcomer would take it past those that wait (A4).
        if !self.queue.is_empty() {
            self.serve(id, now);
        }
        let max_idle = self.config.max_idle_per_origin;
        // Serving may have retired it.
        let Some(resource) = self.resources.get(id) else {
            return;
        };
        // In use; or idle already, since credit can change at any time.
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
        // Its first reason stands, whatever has come to be true since.
        if let ResourceState::Retiring(reason) | ResourceState::Closing(reason) = resource.state {
            return Some(reason);
        }
        if self.closed {
            return Some(CloseReason::Shutdown);
        }
        if resource.served >= resource.max_served {
            let own = self.config.max_requests_per_connection;
            let own = own.is_some_and(|max| resource.served >= max.get());
            return Some(if own {
                CloseReason::MaxRequests
            } else {
                CloseReason::PeerClose
            });
        }
        // Before the exception for a new one: it may have been opened under a limit that has been
        // lowered since.
        if self.is_over_limit() {
            return Some(CloseReason::MaxIdle);
        }
        if fresh && resource.served == 0 {
            // It has just been opened: whatever its lifetime, it serves the request it is for.
            return None;
        }
        // What has just ended an exchange was not idle: its idle time begins now.
        let reason = resource.outlived(now, !fresh && resource.leases == 0)?;
        (!self.must_stay(id, now)).then_some(reason)
    }

    /// Gives the room on a connection to those who wait, in their order.
    pub(super) fn serve(&mut self, id: ResourceId, now: Instant) {
        while self.resources.get(id).is_some_and(Resource::has_room) {
            if self
                .resources
                .get(id)
                .is_some_and(|one| one.is_past_age(now))
            {
                self.want_replacement(id);
            }
            let resources = &mut self.resources;
            let lease = || Lease {
                resource: id,
                reused: resources.lease(id),
            };
            // The lease is made once there is a ticket for it: made first, it would have to be
            // given back.
            if !self.queue.reserve(now, lease, &mut self.effects) {
                break;
            }
            self.retire_if_exhausted(id);
        }
        // A reservation that is not collected goes on only if a tick comes by then.
        let lapse = self.queue.next_lapse();
        self.upkeep.at(lapse);
        // Those served are out of the line: the opens in progress are the next ones' own.
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

    /// Returns true if more is open than the limit allows, which was lowered.
    #[inline]
    pub(super) fn is_over_limit(&self) -> bool {
        self.resources.open_in_place() + self.opening > self.limit()
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
            // Before `cover`, which counts the opens in progress in leases.
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
            // Once: what is closing already is not retired again.
            self.effects.close(resource, reason);
        }
        if self.config.drain_timeout.is_some() && self.told() != told {
            // Its time begins with the next tick, which is due at once.
            let drains = self.resources.get(resource).map(|found| found.created);
            self.upkeep.at(drains);
        }
        self.note_if_other_than(told);
    }

    /// Returns the numbers that the owner reports, to be read again when they change.
    pub(super) const fn told(&self) -> (usize, usize, QueueOrder) {
        (self.draining(), self.streams(), self.order())
    }

    pub(super) fn note_if_other_than(&mut self, before: (usize, usize, QueueOrder)) {
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
        // First, so that it is not among the live ones when `rejected` takes their number for what
        // the peer bears.
        let gone = self.resources.remove(resource)?;
        self.note_if_other_than(told);
        self.counts.closed += 1;
        let age = now.saturating_duration_since(gone.created);
        let by_peer = matches!(reason, CloseReason::PeerEof | CloseReason::Error);
        // It died young and proved nothing: as good as a refused connect. Uncounted, a pool at its
        // peer's ceiling would open one after the other.
        if by_peer && !gone.proved && Growth::<E>::is_stillborn(age) {
            self.rejected(now);
        }
        let reason = match gone.state {
            ResourceState::Live => reason,
            ResourceState::Retiring(own) | ResourceState::Closing(own) => own,
        };
        Some(Gone {
            reason,
            age,
            served: gone.served,
        })
    }
}
