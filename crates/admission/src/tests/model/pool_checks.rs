//! What must be so after every step.

use std::collections::HashMap;

use tollgate_core::{CloseReason, QueueOrder};

use super::pool::{Before, World};
use crate::queue::Peek;
use crate::{Grant, Machine, ResourceId, ResourceInfo, ResourceState, Ticket};

impl World {
    /// Does what the pool asks for; then everything must be as promised.
    pub(super) fn after(&mut self, before: &Before) {
        let mut effects = self.pool.take_effects();
        while let Some((resource, reason)) = effects.next_close() {
            self.told_to_close(resource, reason);
        }
        drop(effects);
        self.follow_line();
        self.check_order(before);
        self.check_wakes(before);
        self.check_leases();
        self.check_sockets(before);
        self.check_nobody_is_stranded();
        self.pool.check();
        assert_eq!(self.pool.line(), self.line, "A4");
    }

    fn told_to_close(&mut self, resource: ResourceId, reason: CloseReason) {
        if let Some(told) = self.sockets.get_mut(&resource) {
            assert!(!*told, "each connection is told to close once");
            *told = true;
            let info = self.pool.resource(resource).expect("it holds its place");
            assert_eq!(info.state, ResourceState::Closing(reason));
            assert_eq!(info.leases, 0, "nothing is closed under a lease");
        }
    }

    /// Takes those who were answered out of the model's line.
    fn follow_line(&mut self) {
        let pool = &self.pool;
        let waits = |t: &Ticket| matches!(pool.peek(*t), Some(Peek::Waiting { .. }));
        self.line.retain(waits);
    }

    /// A4 and A6: nobody is served past one who waits and could have been.
    fn check_order(&self, before: &Before) {
        let newest = [before.order, self.pool.stats().order].contains(&QueueOrder::Newest);
        let mut somebody_waits = false;
        for &(ticket, _) in &before.line {
            match self.pool.peek(ticket) {
                Some(Peek::Waiting { .. }) => somebody_waits = true,
                Some(Peek::Reserved(_)) => {
                    assert!(newest || !somebody_waits, "A4: first come, first served");
                    assert!(!newest || self.learns, "A13: only where callers leave");
                    assert!(
                        !self.is_over(ticket),
                        "A6: granted to a request that is over"
                    );
                }
                _ => {}
            }
        }
    }

    /// Whoever was answered is woken once, whose clock runs again too, and nobody else.
    fn check_wakes(&mut self, before: &Before) {
        let first = before.line.first().map(|(ticket, _)| *ticket);
        for &(ticket, was_covered) in &before.line {
            let Some(peek) = self.pool.peek(ticket) else {
                continue;
            };
            let asked = self.tickets.get_mut(&ticket).expect("asked");
            let woken = asked.wakes.count() - asked.seen;
            asked.seen = asked.wakes.count();
            let due = match peek {
                Peek::Waiting { covered } => was_covered && !covered,
                Peek::Reserved(_) | Peek::Lapsed | Peek::Refused(_) => true,
            };
            // The head is also woken when the open it waited for was abandoned.
            let allowed = usize::from(due && asked.armed)..=usize::from(asked.armed);
            if Some(ticket) == first {
                assert!(allowed.contains(&woken), "{peek:?}: woken {woken} times");
            } else {
                assert_eq!(woken, *allowed.start(), "{peek:?}");
            }
            asked.armed &= woken == 0;
        }
    }

    /// A5: each lease is held, reserved or free, and never two of these.
    fn check_leases(&self) {
        let mut out: HashMap<ResourceId, usize> = HashMap::new();
        for id in &self.held {
            *out.entry(*id).or_default() += 1;
        }
        for &ticket in self.tickets.keys() {
            if let Some(Peek::Reserved(id)) = self.pool.peek(ticket) {
                *out.entry(id).or_default() += 1;
            }
        }
        for info in self.pool.resources() {
            assert_eq!(info.leases, out.get(&info.id).copied().unwrap_or(0), "A5");
        }
    }

    /// A1, counted in sockets by somebody who is not the pool.
    fn check_sockets(&mut self, before: &Before) {
        self.note_draining();
        let stats = self.pool.stats();
        assert_eq!(
            stats.open + stats.draining + stats.closing,
            self.sockets.len()
        );
        assert_eq!(stats.connecting, self.opening);
        assert_eq!(
            self.beside_now(),
            self.pool.beside(),
            "{:#?}",
            self.pool.resources().collect::<Vec<_>>()
        );
        let occupied = self.occupied();
        let limit = self.config.max_connections_per_origin.get();
        self.excess = self.excess.min(occupied.saturating_sub(limit));
        if self.excess > 0 {
            assert!(
                occupied <= before.occupied.max(limit),
                "A1: never grows above"
            );
        } else {
            assert!(occupied <= limit, "A1: {occupied} of {limit}");
        }
        assert!(stats.idle <= self.config.max_idle_per_origin.max(1));
        assert_eq!(occupied, self.pool.places());
    }

    /// A2 from its other side: where an open could be started for who waits, one is wanted.
    fn check_nobody_is_stranded(&self) {
        let waits = self.asking() > 0 && self.opening == 0;
        let room = self.occupied() < self.config.max_connections_per_origin.get();
        if waits && room && !self.pauses() && !self.drained && !self.pool.is_held(self.now) {
            assert!(self.pool.wants_open(self.now), "nobody waits for nothing");
        }
    }

    pub(super) fn note_draining(&mut self) {
        for info in self.pool.resources() {
            let drains = matches!(info.state, ResourceState::Retiring(_));
            let stays = info.state == ResourceState::Live && self.pool.is_beside(info.id);
            if stays && !self.beside.contains(&info.id) {
                assert!(self.is_past_age(&info), "only its age has it replaced");
                assert!(self.beside_now() < self.config.max_draining, "bounded");
            }
            // One may have been replaced and closed within the step.
            let closes = matches!(info.state, ResourceState::Closing(_));
            let was_beside = closes && self.pool.is_beside(info.id);
            if (drains || stays || was_beside) && self.shared.contains(&info.id) {
                self.beside.insert(info.id);
            }
        }
    }

    fn is_past_age(&self, info: &ResourceInfo) -> bool {
        let lives = self.config.max_lifetime;
        lives.is_some_and(|life| info.leases > 0 && info.created + life <= self.now)
    }

    pub(super) fn beside_now(&self) -> usize {
        let there = |id: &&ResourceId| self.sockets.contains_key(*id);
        self.beside.iter().filter(there).count()
    }

    /// P20: past its age, and yet the last that could serve, or as many drain as may.
    fn may_serve_on(&self, before: &Before, info: &ResourceInfo) -> bool {
        let younger = |other: &ResourceInfo| {
            let lives = self.config.max_lifetime;
            other.id != info.id
                && other.state == ResourceState::Live
                && self.shared.contains(&other.id)
                && lives.is_none_or(|life| other.created + life > self.now)
        };
        let full = self.beside_now() >= self.config.max_draining;
        self.shared.contains(&info.id)
            && info.leases > 0
            && (full || !before.resources.iter().any(younger))
    }

    /// A9: of the idle ones the newest that is not too old is taken.
    pub(super) fn check_newest(&self, before: &Before, grant: &Grant) {
        let usable = |info: &&ResourceInfo| {
            let dies = self.config.max_lifetime.map(|life| info.created + life);
            let idles = self.config.idle_timeout.zip(info.idle_since);
            let rests = idles.map(|(timeout, since)| since + timeout);
            let hint = info
                .idle_since
                .and_then(|_| self.hints.get(&info.id).copied());
            info.state == ResourceState::Live
                && info.leases < info.capacity
                && dies
                    .into_iter()
                    .chain(rests)
                    .chain(hint)
                    .all(|at| at > self.now)
        };
        let taken = before
            .resources
            .iter()
            .find(|info| info.id == grant.resource);
        let taken = taken.expect("a direct grant is on a connection that was there");
        assert!(
            usable(&taken) || self.may_serve_on(before, taken),
            "A9: not past its time: {taken:?}"
        );
        let mut others = before.resources.iter();
        // Those of many leases come first, the least loaded of them.
        if others.all(|info| !self.shared.contains(&info.id)) {
            let usable = before.resources.iter().filter(usable);
            let newest = usable.map(|info| info.idle_since).max().flatten();
            assert_eq!(taken.idle_since, newest, "A9: last in, first out");
        }
        assert_eq!(grant.reused, taken.served > 0);
    }
}
