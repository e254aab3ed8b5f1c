//! Connections of many leases that are past their age, and those that drain.
//!
//! The last connection that could serve stays until its replacement is there, and old ones never
//! bar a dial for ever: an origin with a long stream on every connection it ever had goes on serving.

use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::CloseReason;

use crate::pool::resources::Resources;
use crate::pool::{Pool, ResourceId, ResourceState};

/// The time until a connection that had to stay past its age is looked at again, if no open ends
/// before: short beside a lifetime of minutes, long beside a dial.
const AGAIN: Duration = Duration::from_secs(10);

impl<E: Clone> Pool<E> {
    /// Returns true if a connection past its age goes on serving: it has exchanges that will not be
    /// cut, and either nothing else could serve or as many as may drain already.
    pub(super) fn must_stay(&self, id: ResourceId, now: Instant) -> bool {
        let Some(found) = self.resources.get(id) else {
            return false;
        };
        // One of a single lease has its replacement in its own place, and without leases there is
        // nothing to cut.
        if !found.shared || found.leases == 0 {
            return false;
        }
        // One that is marked has its place among those that drain already, and takes no other.
        let may_drain = found.beside || self.resources.beside() < self.config.max_draining;
        !may_drain || !self.resources.any_younger(id, now)
    }

    /// A request was given to a connection past its age: the next ones deserve a new one, beside it.
    pub(super) fn want_replacement(&mut self, id: ResourceId) {
        let found = self.resources.get(id);
        let marked = found.is_some_and(|found| found.beside);
        // One more beside takes nothing off the places, so it makes no room for a replacement.
        if !marked && self.resources.beside() >= self.config.max_draining {
            return;
        }
        // Which takes its place off `occupied`: else an origin at its limit could open no
        // replacement.
        self.resources.mark_beside(id);
        // One on its way is its replacement.
        if self.opening == 0 {
            self.upkeep.ask_for(1);
        }
    }

    /// A new connection is there: those past their age that waited for it drain.
    pub(super) fn retire_replaced(&mut self, now: Instant) {
        // Asked for each anew: one that drains takes a place beside, and the next may have to stay.
        while let Some(id) = self.resources.next_past_age(now)
            && !self.must_stay(id, now)
        {
            self.retire(id, CloseReason::MaxAge);
        }
    }

    /// Retires a connection that is past its age, or postpones that.
    pub(super) fn retire_for_age(&mut self, id: ResourceId, reason: CloseReason, now: Instant) {
        if self.must_stay(id, now) {
            self.upkeep.at(now.checked_add(AGAIN));
        } else {
            self.retire(id, reason);
        }
    }

    /// Sets or keeps the time by which a draining connection has to be through.
    pub(super) fn age_draining(&mut self, id: ResourceId, now: Instant) {
        let Some(limit) = self.config.drain_timeout else {
            return;
        };
        let until = self.resources.drain_until(id, || now.checked_add(limit));
        match until {
            Some(at) if at <= now => self.cut(id, Some(CloseReason::DrainTimeout)),
            until => self.upkeep.at(until),
        }
    }

    fn cut(&mut self, id: ResourceId, because: Option<CloseReason>) {
        let told = self.told();
        // Its leases are still out: each comes back to a connection that is closing, and frees
        // nothing.
        if let Some(reason) = self.resources.cut(id) {
            self.effects.close(id, because.unwrap_or(reason));
        }
        self.note_if_other_than(told);
    }

    /// Cuts the connection that has drained longest, if requests wait that may not be dialled for
    /// only because more drain than may live beside their replacements.
    ///
    /// To be asked whenever requests wait.
    pub fn make_room(&mut self) {
        // Not for requests that an open is on its way for.
        let unmet = self.opening.saturating_mul(self.expected) < self.queue.len();
        if !unmet || self.closed || self.occupied() < self.limit() {
            return;
        }
        let (mut draining, mut ending) = (0, 0);
        for one in self.resources.iter() {
            match one.state {
                ResourceState::Retiring(_) if self.resources.is_beside(one.id) => draining += 1,
                ResourceState::Closing(_) => ending += 1,
                _ => {}
            }
        }
        // One that is closing makes the room: another cut would be for nothing.
        if ending == 0
            && draining > self.config.max_draining
            && let Some(oldest) = self.resources.oldest_beside()
        {
            self.cut(oldest, None);
        }
    }
}

impl Resources {
    /// The one that has drained longest beside its replacement.
    pub(crate) fn oldest_beside(&self) -> Option<ResourceId> {
        let drains = self
            .all
            .iter()
            .filter(|(_, one)| one.drains() && one.beside);
        let oldest = drains.min_by_key(|(_, one)| one.created);
        oldest.map(|(key, _)| ResourceId(key))
    }

    pub(crate) fn is_beside(&self, id: ResourceId) -> bool {
        self.get(id).is_some_and(|resource| resource.beside)
    }

    /// Returns true if another connection of many leases lives that is not past its age.
    pub(crate) fn any_younger(&self, than: ResourceId, now: Instant) -> bool {
        let mut others = self.shared.iter().filter(|&&index| index != than.0.index);
        others.any(|&index| self.all.at(index).expires.is_none_or(|at| at > now))
    }

    /// A live connection of many leases that is past its age.
    pub(crate) fn next_past_age(&self, now: Instant) -> Option<ResourceId> {
        let mut shared = self.shared.iter();
        let old = shared.find(|&&index| self.all.at(index).is_past_age(now))?;
        Some(ResourceId(self.all.key(*old)))
    }
}
