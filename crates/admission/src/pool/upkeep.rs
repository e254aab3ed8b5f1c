//! What happens as time passes: idle timeouts, lifetimes, spare connections.

use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::CloseReason;

use crate::pool::leases::ENDS_WITHIN;
use crate::pool::{Pool, PoolConfig, ResourceId, ResourceInfo, Returned};

/// The interval at which spare connections are looked after: a server that closes what it has just
/// accepted is not dialled more often for its sake.
const REFILL_EVERY: Duration = Duration::from_secs(1);
/// The time that a pool without a lifetime limit counts as in use after its last request.
const IN_USE_FOR: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(crate) struct Upkeep {
    /// Not later than the next thing to do; `None` if there is nothing.
    due: Option<Instant>,
    /// `due` has become earlier since somebody asked.
    sooner: bool,
    /// Opens that were asked for, whoever they serve, and have not begun.
    asked: usize,
    /// Idle connections that are missing, and whose opens have not begun.
    spare: usize,
    refilled: Option<Instant>,
    /// The number of demands at the last look, and when it had last changed.
    demands: u64,
    in_use: Option<Instant>,
}

impl Upkeep {
    pub(crate) const fn new() -> Self {
        Self {
            due: None,
            sooner: false,
            asked: 0,
            spare: 0,
            refilled: None,
            demands: 0,
            in_use: None,
        }
    }

    /// The opens that are wanted whether anybody waits or not, and have not begun.
    #[inline]
    pub(crate) const fn spare(&self) -> usize {
        self.asked.saturating_add(self.spare)
    }

    pub(crate) fn ask_for(&mut self, opens: usize) {
        self.asked = self.asked.max(opens);
    }

    pub(crate) fn forget_spare(&mut self) {
        (self.asked, self.spare) = (0, 0);
    }

    /// The pool closes: nothing is due any more.
    pub(crate) fn forget(&mut self) {
        self.forget_spare();
        self.due = None;
    }

    pub(crate) fn open_started(&mut self, for_queue: bool) {
        self.asked = self.asked.saturating_sub(1);
        // One for the queue will not idle.
        if !for_queue {
            self.spare = self.spare.saturating_sub(1);
        }
    }

    /// There is something to do at `at`.
    #[inline]
    pub(crate) fn at(&mut self, at: Option<Instant>) {
        // A later time needs no note: the tick at `due` looks at everything anew.
        if let Some(at) = at
            && self.due.is_none_or(|due| at < due)
        {
            self.due = Some(at);
            self.sooner = true;
        }
    }
}

impl<E: Clone> Pool<E> {
    /// Returns the time at which [`tick`](Self::tick) should be called; `None` if there is nothing
    /// it would do.
    ///
    /// It may be early, never late: a connection that was to time out may have been used since.
    #[inline]
    pub const fn next_tick(&self) -> Option<Instant> {
        self.upkeep.due
    }

    /// Returns true if [`next_tick`](Self::next_tick) has become earlier since this was last asked:
    /// then a timer that was set by it is late.
    #[inline]
    pub const fn ticks_sooner(&mut self) -> bool {
        std::mem::replace(&mut self.upkeep.sooner, false)
    }

    /// Closes what has been idle or has lived long enough, ends a back-off that is over, refuses
    /// who waits too long, and asks for spare connections. Looks at each connection if something
    /// is due, and [`next_tick`](Self::next_tick) is later than `now` afterwards.
    pub fn tick(&mut self, now: Instant) {
        // Due or not: the deadlines of those that wait are the queue's own.
        self.contend();
        self.queue.expire(now, &mut self.effects);
        self.cover(now);
        self.back_off.tick(now);
        if self.upkeep.due.is_none_or(|due| due > now) {
            return;
        }
        let told = self.told();
        self.queue.calm_down(now);
        self.note_if_other_than(told);
        // Before the due times: it serves the next, whose reservation lapses in its turn.
        while let Some(lease) = self.queue.lapse(now) {
            self.lease_returned(lease.resource, now, Returned::Unused);
        }
        // From nothing: each part adds its next time, so that none is forgotten and none stays.
        self.upkeep.due = self.back_off.waits_until();
        let lapse = self.queue.next_lapse();
        self.upkeep.at(lapse);
        self.upkeep.at(self.growth.next(now));
        self.upkeep.at(self.churn.next(now, self.cap()));
        self.upkeep.at(self.queue.calm_at());
        if let Some(since) = self.queue.head_since() {
            // Behind a head that waits no longer there may be others that still do.
            let waits = now.saturating_duration_since(since) < ENDS_WITHIN;
            self.look_after_endings(if waits { since } else { now });
        }
        let mut at = 0;
        while let Some((id, next)) = self.resources.next_from(at) {
            self.age(id, now);
            at = next;
        }
        // Last: what has just been closed for its age is among the missing.
        self.refill(now);
    }

    fn age(&mut self, id: ResourceId, now: Instant) {
        let Some(resource) = self.resources.get(id).filter(|found| found.is_live()) else {
            return self.age_draining(id, now);
        };
        let idle = resource.leases == 0;
        let due = match (idle, resource.shared) {
            (true, _) => resource.idle_until,
            // It drains and its replacement is opened; one of a single lease ends when that does.
            (false, true) => resource.expires,
            (false, false) => None,
        };
        match resource.outlived(now, idle) {
            Some(reason) if due.is_some_and(|due| due <= now) => {
                self.retire_for_age(id, reason, now);
            }
            _ => self.upkeep.at(due),
        }
    }

    /// The pool is in use: spare connections are due.
    pub(super) fn demand_seen(&mut self, now: Instant) {
        if self.config.min_idle_per_origin > 0 {
            let next = self.upkeep.refilled.map_or(now, |last| last + REFILL_EVERY);
            self.upkeep.at(Some(next.max(now)));
        }
    }

    /// Asks for the idle connections that are missing, if the pool is in use.
    fn refill(&mut self, now: Instant) {
        let upkeep = &mut self.upkeep;
        if self.config.min_idle_per_origin == 0 || self.closed {
            return;
        }
        // A counter that has moved is use, at no cost to the hit.
        if upkeep.demands != self.totals.demands {
            upkeep.demands = self.totals.demands;
            upkeep.in_use = Some(now);
        }
        let keeps = self.config.max_lifetime.unwrap_or(IN_USE_FOR);
        let in_use = |since: Instant| now.saturating_duration_since(since) < keeps;
        if !upkeep.in_use.is_some_and(in_use) {
            upkeep.spare = 0;
            return;
        }
        if let Some(next) = upkeep.refilled.map(|last| last + REFILL_EVERY)
            && next > now
        {
            return upkeep.at(Some(next));
        }
        // Also where a back-off keeps it from asking: the next look is a second later all the same.
        upkeep.refilled = Some(now);
        let min_idle = self
            .config
            .min_idle_per_origin
            .min(self.config.max_idle_per_origin);
        // Those on their way, but for what they bring to the queue, will idle.
        let queue_has = self.queue.asking().div_ceil(self.expected);
        let coming = self.opening.saturating_sub(queue_has);
        let missing = min_idle.saturating_sub(self.resources.idle().saturating_add(coming));
        // A spare one would be the probe, with no request to gain by it.
        if !self.back_off.is_waiting() {
            upkeep.spare = missing;
        }
        upkeep.at(Some(now + REFILL_EVERY));
    }

    /// Returns the time since which the connection that has been idle longest has been so.
    pub fn oldest_idle(&self) -> Option<Instant> {
        self.resources.oldest_idle().map(|(_, since)| since)
    }

    /// Closes the connection that has been idle longest, for the sake of another origin (A8).
    /// `false` if none is idle.
    pub fn reclaim_oldest_idle(&mut self) -> bool {
        let oldest = self.resources.oldest_idle();
        if let Some((id, _)) = oldest {
            self.retire(id, CloseReason::Reclaimed);
        }
        oldest.is_some()
    }

    /// All connections whose socket is not gone, in no particular order.
    pub fn resources(&self) -> impl Iterator<Item = ResourceInfo> {
        self.resources.iter()
    }

    /// Returns the state of one connection; `None` once it is gone.
    pub fn resource(&self, id: ResourceId) -> Option<ResourceInfo> {
        Some(self.resources.get(id)?.info(id))
    }

    /// Changes the limits. Higher ones take effect at once, but for the owner asking
    /// [`wants_open`](Self::wants_open). A lower limit on open or idle connections closes idle ones
    /// now and active ones as their leases end. New timeouts and lifetimes apply to who waits,
    /// idles or is opened from now on.
    pub fn reconfigure(&mut self, now: Instant, config: PoolConfig) {
        self.config = config;
        self.queue.set_discipline(self.config.discipline);
        // The busy ones are met as their leases end.
        while self.resources.idle() > self.config.max_idle_per_origin || self.is_over_limit() {
            let Some((id, _)) = self.resources.oldest_idle() else {
                break;
            };
            self.retire(id, CloseReason::MaxIdle);
        }
        // `min_idle` may be higher now, and no demand may come that has a tick look at it.
        self.demand_seen(now);
    }
}
