//! The idle connections: which serves next, and which has idled longest. Idle timeouts are in `upkeep`.

use tokio::time::Instant;

use crate::list::Linked;
use crate::pool::ResourceId;
use crate::pool::resources::Resources;
use crate::slab::NONE;

impl Resources {
    /// The connection to take the next lease from: of those with many leases the least loaded,
    /// else the one that became idle last. It may have outlived its time.
    #[inline]
    pub(crate) fn pick(&self) -> Option<ResourceId> {
        if self.shared.is_empty() {
            // The hit path of HTTP/1: one look, and no list is walked.
            return Some(ResourceId(self.all.key(self.idle.head()?)));
        }
        self.pick_among_shared()
    }

    fn pick_among_shared(&self) -> Option<ResourceId> {
        let shared = self.shared.iter().copied();
        let with_room = shared.filter(|&index| self.all.at(index).has_room());
        let least_loaded = with_room.min_by_key(|&index| self.all.at(index).leases);
        let index = least_loaded.or_else(|| {
            // An idle one without room is one whose peer allows no lease at present.
            let mut at = self.idle.head();
            while let Some(index) = at.filter(|&index| !self.all.at(index).has_room()) {
                let next = self.all.at(index).links().next();
                at = (next != NONE).then_some(next);
            }
            at
        })?;
        Some(ResourceId(self.all.key(index)))
    }

    /// Puts a live connection without leases to the front of the idle.
    #[inline]
    pub(crate) fn rest(&mut self, id: ResourceId) {
        self.idle.push_front(&mut self.all, id.0.index);
    }

    /// Puts a connection whose lease was not used back to where it was among the idle: behind
    /// those that have been used since.
    pub(crate) fn rest_unused(&mut self, id: ResourceId) {
        // From the newest on: an unused lease comes back within moments, so few are met.
        let since = self.all.at(id.0.index).idle_since;
        let mut before = NONE;
        let mut after = self.idle.head();
        while let Some(newer) = after.filter(|&at| self.all.at(at).idle_since > since) {
            before = newer;
            let next = self.all.at(newer).links().next();
            after = (next != NONE).then_some(next);
        }
        self.idle.insert_after(&mut self.all, id.0.index, before);
    }

    /// The one that has been idle longest.
    pub(crate) fn oldest_idle(&self) -> Option<(ResourceId, Instant)> {
        let index = self.idle.tail()?;
        let id = ResourceId(self.all.key(index));
        Some((id, self.all.at(index).idle_since))
    }
}
