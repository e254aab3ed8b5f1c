//! The pool's own consistency, for tests.

use crate::list::Linked;
use crate::outcome::Ticket;
use crate::pool::leases::ENDS_WITHIN;
use crate::pool::resources::Resources;
use crate::pool::{Pool, ResourceId, ResourceState};
use crate::queue::Peek;
use crate::slab::NONE;

impl<E: Clone> Pool<E> {
    pub(crate) fn peek(&self, ticket: Ticket) -> Option<Peek<ResourceId>> {
        Some(match self.queue.peek(ticket)? {
            Peek::Waiting { covered } => Peek::Waiting { covered },
            Peek::Reserved(lease) => Peek::Reserved(lease.resource),
            Peek::Lapsed => Peek::Lapsed,
            Peek::Refused(reason) => Peek::Refused(reason),
        })
    }

    pub(crate) fn line(&self) -> Vec<Ticket> {
        self.queue.line()
    }

    /// Returns true if opening pauses beside what serves, for ports, or for what cancellations have
    /// cost: each of these ends with a tick.
    pub(crate) fn is_held(&self, now: tokio::time::Instant) -> bool {
        let (live, opening) = (self.resources.live(), self.opening);
        let after = self.config.back_off.after.get();
        let grows = self.growth.allows(now, after, live, opening);
        let paid = self.churn.allows(now, self.cap());
        let due = |at| self.next_tick().is_some_and(|tick| tick <= at);
        let next = self.growth.next(now);
        assert!(
            grows || next.is_none_or(due),
            "A14: a pause ends with a tick"
        );
        let next = self.churn.next(now, self.cap());
        assert!(
            paid || next.is_none_or(due),
            "a budget is filled with a tick"
        );
        let ends = self.ending(now) > 0;
        assert!(
            !ends || due(now + ENDS_WITHIN),
            "a lease that does not come back is waited for until a tick"
        );
        !grows || !paid || ends
    }

    pub(crate) const fn beside(&self) -> usize {
        self.resources.beside()
    }

    pub(crate) fn is_beside(&self, id: ResourceId) -> bool {
        self.resources.is_beside(id)
    }

    pub(crate) const fn spare(&self) -> usize {
        self.upkeep.spare()
    }

    pub(crate) const fn steps(&self) -> u64 {
        self.queue.steps()
    }

    /// Asserts the invariants that hold after every call.
    pub(crate) fn check(&self) {
        self.queue.check();
        self.resources.check();
        let stats = self.stats();
        let totals = stats.totals;
        let open_tickets = stats.unanswered as u64;
        assert_eq!(totals.demands, totals.settled() + open_tickets, "A10");
        let there = stats.open + stats.closing + stats.draining;
        assert_eq!(stats.opened, stats.closed + there as u64, "A10");
        assert_eq!(stats.open, stats.idle + stats.active);
        assert!(stats.queued <= stats.unanswered);
        let own = self.opening * self.expected;
        assert_eq!(self.queue.covered(), own.min(stats.queued), "A7");
        let live = self
            .resources
            .iter()
            .filter(|each| each.state == ResourceState::Live);
        let offered: usize = live
            .map(|each| self.resources.offers_streams(each.id))
            .sum();
        assert_eq!(self.streams(), offered);
        let room = self.resources.iter().find(|each| {
            let live = each.state == ResourceState::Live;
            live && each.leases < each.capacity
        });
        assert!(
            stats.queued == 0 || room.is_none(),
            "nobody waits beside room: {room:?}"
        );
    }
}

impl Resources {
    fn offers_streams(&self, id: ResourceId) -> usize {
        let shared = self.get(id).filter(|resource| resource.shared);
        shared.map_or(0, |resource| resource.capacity)
    }

    fn check(&self) {
        let mut idle = Vec::new();
        let mut at = self.idle.head().unwrap_or(NONE);
        while at != NONE {
            idle.push(at);
            at = self.all.at(at).links().next();
        }
        assert_eq!(idle.len(), self.idle.len());
        let newest_first =
            idle.is_sorted_by(|&a, &b| self.all.at(a).idle_since >= self.all.at(b).idle_since);
        assert!(newest_first, "A9");
        let (mut leases, mut draining, mut beside, mut closing, mut live) = (0, 0, 0, 0, 0);
        let mut ending = 0;
        for (key, resource) in self.all.iter() {
            let rests = resource.is_live() && resource.leases == 0;
            assert_eq!(
                rests,
                idle.contains(&key.index),
                "idle is live without leases"
            );
            let shares = resource.is_live() && resource.shared;
            assert_eq!(shares, self.shared.contains(&key.index));
            assert!(resource.served <= resource.max_served);
            leases += resource.leases;
            ending += usize::from(resource.ending);
            assert!(!resource.ending || resource.is_live() && resource.leases == 1);
            beside += usize::from(resource.beside);
            live += usize::from(resource.is_live());
            match resource.state {
                ResourceState::Live => assert!(!resource.drains()),
                ResourceState::Retiring(_) => {
                    assert!(
                        resource.leases > 0,
                        "a retired one without leases is closed"
                    );
                    draining += usize::from(resource.drains());
                }
                ResourceState::Closing(_) => closing += 1,
            }
        }
        let gauges = self.gauges();
        assert_eq!(gauges.leases, leases);
        assert_eq!(gauges.draining, draining);
        assert_eq!(gauges.closing, closing);
        assert_eq!(self.beside(), beside);
        assert_eq!(self.ending(), ending);
        assert_eq!(self.any_live(), live > 0);
    }
}
