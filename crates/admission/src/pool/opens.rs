//! When a connection is opened, and what a success or a failure leads to (A2, A7, A14).

use std::num::NonZeroUsize;

use tokio::time::Instant;
use tollgate_core::{CloseReason, RefuseReason};

use crate::pool::resource::Resource;
use crate::pool::{Pool, ResourceId};

impl<E: Clone> Pool<E> {
    /// Returns true if an open should be started: there is unmet demand that no open in progress is
    /// for, room under both limits, and no back-off in the way.
    ///
    /// A hint, to be asked after every call that may have left demand unmet;
    /// [`start_open`](Self::start_open) decides.
    pub fn wants_open(&self, now: Instant) -> bool {
        !self.closed
            // Spare connections are demand too, though no clock waits for them. Each is an open of its own:
            // one that hangs would else stand for all that its leases could serve.
            && (self.upkeep.spare() > 0 || self.is_unmet(now))
            && self.opening < self.config.max_connecting_per_origin.get()
            && !self.is_full()
            && self.back_off.may_open(now)
            && self.growth.allows(
                now,
                self.config.back_off.after.get(),
                self.resources.live(),
                self.opening,
            )
            && self.churn.allows(now, self.cap())
    }

    /// Returns true if the opens in progress and the leases that are about to come back are too few for
    /// those that wait.
    #[inline]
    fn is_unmet(&self, now: Instant) -> bool {
        let own = self.opening.saturating_mul(self.expected);
        own.saturating_add(self.ending(now)) < self.queue.asking()
    }

    /// Returns the time since which the head of the queue waits, if the next open would be for those that
    /// wait; `None` if it would be for a connection to spare.
    pub fn open_wanted_since(&self, now: Instant) -> Option<Instant> {
        self.is_unmet(now).then(|| self.queue.head_since())?
    }

    /// Starts an open, if one is wanted (A2): who waited too long is refused first, and demand
    /// that was met since is not dialled for. Each `true` must be followed by one
    /// [`opened`](Self::opened) or [`open_failed`](Self::open_failed).
    #[must_use = "an open that was agreed to must be reported on"]
    pub fn start_open(&mut self, now: Instant) -> bool {
        self.contend();
        // Expired first: an open for a request that is over is a ghost connect (A2).
        self.queue.expire(now, &mut self.effects);
        let wanted = self.wants_open(now);
        if wanted {
            let for_queue = self.is_unmet(now);
            self.upkeep.open_started(for_queue);
            // Before another is asked for: if it is the probe, it is to be the only one.
            self.back_off.open_started(now);
            self.growth.started(now);
            self.upkeep.at(self.growth.next(now));
            self.opening += 1;
            self.counts.opens += 1;
        }
        // Also without an open: those that expired may have been covered.
        self.cover(now);
        wanted
    }

    /// Returns the number of leases that the next open is likely to bring, 1 at first.
    /// With more, fewer opens are started for the same demand. Each open that succeeds corrects it.
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
        // Before it is inserted: counted as opening and as open, it would be over the limit, and
        // retired.
        self.open_ended();
        self.counts.opened += 1;
        let error = self.back_off.succeeded();
        self.effects.discard_error(error);
        let error = self.growth.unblocked();
        self.effects.discard_error(error);
        // Before `cover`, which counts the opens in progress in leases.
        self.learn(capacity.get());

        let lifetime = self.config.max_lifetime;
        let percent = self.config.lifetime_jitter_percent;
        let lifetime = lifetime.map(|about| self.jitter.spread(about, percent));
        let expires = lifetime.and_then(|lifetime| now.checked_add(lifetime));
        let max_requests = self.config.max_requests_per_connection;
        let mut resource = Resource::new(now, capacity.get(), expires, max_requests);
        let idle_until = self.config.idle_timeout.and_then(|t| now.checked_add(t));
        resource.idle_until = crate::queue::earlier(idle_until, expires);
        let shared = resource.shared;

        let id = self.resources.insert(resource);
        if shared {
            // A stream that lasts brings no other event that would find it past its age.
            self.upkeep.at(expires);
        }
        // Those past their age go after that, since something younger serves: in the other order
        // the origin would have no connection for a moment.
        self.settle(id, now, true);
        self.retire_replaced(now);
        self.cover(now);
        self.note_if_other_than(told);
        id
    }

    /// An open has failed because of the peer or the way there (A7, A14). While others serve or are
    /// on their way, none of those that wait fails for it. Else the head of the queue does; after
    /// several in a row all that wait do, and the pool backs off.
    pub fn open_failed(&mut self, now: Instant, error: E) {
        self.open_ended();
        // The one open that was to serve all has failed: the next ones go side by side, or as many
        // connect timeouts as failures make a back-off would pass one after the other.
        self.expected = 1;
        self.counts.open_failures += 1;
        // The one that failed is off the count: it is no hope for any.
        let hope = self.resources.any_live() || self.opening > 0;
        let alone = !hope && !self.closed;
        let config = &self.config.back_off;
        let pauses = self.back_off.failed(now, alone, config, &mut self.jitter);
        self.rejected(now);
        // Before `refuse_all`, which gives the error that is remembered to each that waits.
        let before = self.back_off.remember(error.clone());
        self.effects.discard_error(before);
        let left = if pauses {
            self.counts.back_offs += 1;
            self.upkeep.at(self.back_off.waits_until());
            // Spare ones too: after the pause the probe would be for one of them, with no request
            // to gain by it.
            self.upkeep.forget_spare();
            self.refuse_all(now, RefuseReason::Connect);
            Some(error)
        } else if hope || self.back_off.is_waiting() {
            // Those that wait in a back-off wait for the probe, not for what was opened before it.
            Some(error)
        } else {
            self.queue.fail_head(now, error, &mut self.effects)
        };
        // The clock of the one that it covered runs again, so at last.
        self.effects.discard_error(left);
        self.cover(now);
    }

    /// An open has failed for want of a local port or a descriptor (A14). None of those that wait
    /// fails for it: opening pauses, 50 ms first and a second at most, until one succeeds. Those that
    /// time out meanwhile, with nothing open, are refused with this error.
    pub fn open_blocked(&mut self, now: Instant, error: E) {
        self.open_ended();
        self.counts.open_failures += 1;
        // No failure of the peer's: it counts toward no back-off, and a probe may be tried again.
        self.back_off.open_abandoned();
        let before = self.growth.blocked(now, error);
        self.effects.discard_error(before);
        self.upkeep.at(self.growth.next(now));
        self.upkeep.forget_spare();
        self.cover(now);
    }

    /// An open led to nothing, beside what serves.
    pub(super) fn rejected(&mut self, now: Instant) {
        let (live, after) = (self.resources.live(), self.config.back_off.after.get());
        self.growth.rejected(now, after, live, self.opening);
        self.upkeep.at(self.growth.next(now));
    }

    /// Returns true if a retry that the pool makes by itself is within its budget: a fifth of the
    /// requests, and ten a second in any case. A yes takes it.
    #[must_use = "a yes takes a retry from the budget"]
    pub fn take_retry(&mut self, now: Instant) -> bool {
        self.retries.take(now, self.totals.demands)
    }

    pub(super) fn open_ended(&mut self) {
        debug_assert!(self.opening > 0, "each open ends once");
        self.opening = self.opening.saturating_sub(1);
    }

    /// Returns true if there is no room to open another connection.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.occupied() >= self.limit()
    }

    /// Those that wait beside a full pool wait for others.
    #[inline]
    pub(super) fn contend(&mut self) {
        let full = self.is_full();
        self.queue.contend(full);
    }

    /// The places taken: what is open, opening or closing, and what drains beyond its allowance.
    #[inline]
    pub(super) fn occupied(&self) -> usize {
        // Those that drain beside their replacement are left out, up to the allowance: an origin at
        // its limit could replace none.
        let beside = self.resources.beside().min(self.config.max_draining);
        self.resources.len() + self.opening - beside
    }

    /// Opens connections until `n` are open or being opened, if the limits allow, whether anybody
    /// waits or not. Asked for once: what fails is not tried again.
    pub fn warm(&mut self, n: usize) {
        let there = self.occupied();
        let n = n.min(self.limit());
        if !self.closed {
            self.upkeep.ask_for(n.saturating_sub(there));
        }
    }

    /// Refuses those who wait and those who come from now on, closes what is idle and the rest as
    /// its leases end. An open in progress is closed when it succeeds.
    pub fn drain(&mut self, now: Instant) {
        // First: whatever comes free from here on must find the pool closed.
        self.closed = true;
        self.upkeep.forget();
        // A reservation that is not collected lapses all the same: its connection would stay for it.
        let lapse = self.queue.next_lapse();
        self.upkeep.at(lapse);
        self.refuse_all(now, RefuseReason::Closed);
        // A pause that went on would keep a drained pool from being empty, and its origin from
        // being forgotten (A11).
        let error = self.back_off.succeeded();
        self.effects.discard_error(error);
        let mut at = 0;
        while let Some((id, next)) = self.resources.next_from(at) {
            self.retire(id, CloseReason::Shutdown);
            at = next;
        }
    }
}
