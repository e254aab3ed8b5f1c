//! When to open, and what comes of it.

use std::num::NonZeroUsize;

use tokio::time::Instant;
use tollgate_core::{CloseReason, RefuseReason};

use crate::pool::resource::Resource;
use crate::pool::{Pool, ResourceId};

impl<E: Clone> Pool<E> {
    /// Whether an open should be started: there is unmet demand that no open in progress is for,
    /// room under both limits, and no back-off in the way.
    ///
    /// A hint, to be asked after every call that may have left demand unmet;
    /// [`start_open`](Self::start_open) decides.
    pub fn wants_open(&self, now: Instant) -> bool {
        let unmet = self.queue.len().saturating_add(self.upkeep.spare());
        !self.closed
            && self.opening.saturating_mul(self.expected) < unmet
            && self.opening < self.config.max_opening.get()
            && self.occupied() < self.config.max_open.get()
            && self.back_off.may_open(now)
    }

    /// Starts an open, if one is wanted (A2): who waited too long is refused first, and demand
    /// that was met since is not dialled for. Each `true` must be followed by one
    /// [`opened`](Self::opened) or [`open_failed`](Self::open_failed).
    #[must_use = "an open that was agreed to must be reported on"]
    pub fn start_open(&mut self, now: Instant) -> bool {
        self.queue.expire(now, &mut self.effects);
        let wanted = self.wants_open(now);
        if wanted {
            self.back_off.open_started(now);
            self.opening += 1;
            self.counts.opens += 1;
        }
        self.cover(now);
        wanted
    }

    /// How many leases the next open is likely to bring, 1 until told otherwise. With more, fewer
    /// opens are started for the same demand. Each open that succeeds corrects it.
    pub fn expect_leases(&mut self, now: Instant, leases: NonZeroUsize) {
        self.expected = leases.get();
        self.cover(now);
    }

    pub(super) fn learn(&mut self, capacity: usize) {
        self.expected = capacity.max(1);
    }

    /// An open has succeeded. The connection serves those who wait, in their order, as far as its
    /// leases reach, or idles; in a draining pool it is closed at once.
    pub fn opened(&mut self, now: Instant, capacity: NonZeroUsize) -> ResourceId {
        let told = self.told();
        self.open_ended();
        self.counts.opened += 1;
        let error = self.back_off.succeeded();
        self.effects.discard_error(error);
        self.learn(capacity.get());

        let lifetime = self.config.max_lifetime;
        let percent = self.config.lifetime_jitter_percent;
        let lifetime = lifetime.map(|about| self.jitter.spread(about, percent));
        let expires = lifetime.and_then(|lifetime| now.checked_add(lifetime));
        let max_requests = self.config.max_requests;
        let mut resource = Resource::new(now, capacity.get(), expires, max_requests);
        let idle_until = self.config.idle_timeout.and_then(|t| now.checked_add(t));
        resource.idle_until = crate::queue::earlier(idle_until, expires);
        let shared = resource.shared;

        let id = self.resources.insert(resource);
        if shared {
            self.upkeep.at(expires);
        }
        self.settle(id, now, true);
        self.cover(now);
        self.note_if_other_than(told);
        id
    }

    /// An open has failed (A7). The head of the queue fails with it; after several in a row with
    /// nothing open all who wait do, and the pool backs off.
    pub fn open_failed(&mut self, now: Instant, error: E) {
        self.open_ended();
        self.counts.open_failures += 1;
        let alone = !self.resources.any_live() && !self.closed;
        let config = &self.config.back_off;
        let pauses = self.back_off.failed(now, alone, config, &mut self.jitter);
        let before = self.back_off.remember(error.clone());
        self.effects.discard_error(before);
        let left = if pauses {
            self.counts.back_offs += 1;
            self.upkeep.at(self.back_off.waits_until());
            self.upkeep.forget_spare();
            self.refuse_all(now, RefuseReason::OpenFailed);
            Some(error)
        } else {
            self.queue.fail_head(now, error, &mut self.effects)
        };
        self.effects.discard_error(left);
        self.cover(now);
    }

    pub(super) fn open_ended(&mut self) {
        debug_assert!(self.opening > 0, "each open ends once");
        self.opening = self.opening.saturating_sub(1);
        self.upkeep.open_ended();
    }

    /// The places taken: what is open, opening or closing, and what drains beyond its allowance.
    #[inline]
    pub(super) fn occupied(&self) -> usize {
        let beside = self.resources.beside().min(self.config.max_draining);
        self.resources.len() + self.opening - beside
    }

    /// Opens connections until `n` are open or being opened, if the limits allow, whether anybody
    /// waits or not. Asked for once: what fails is not tried again.
    pub fn warm(&mut self, n: usize) {
        let there = self.occupied();
        let n = n.min(self.config.max_open.get());
        if !self.closed {
            self.upkeep.want_spare(n.saturating_sub(there));
        }
    }

    /// Refuses those who wait and those who come from now on, closes what is idle and the rest as
    /// its leases end. An open in progress is closed when it succeeds.
    pub fn drain(&mut self, now: Instant) {
        self.closed = true;
        self.upkeep.forget();
        self.refuse_all(now, RefuseReason::Closed);
        let error = self.back_off.succeeded();
        self.effects.discard_error(error);
        let mut at = 0;
        while let Some((id, next)) = self.resources.next_from(at) {
            self.retire(id, CloseReason::Shutdown);
            at = next;
        }
    }
}
