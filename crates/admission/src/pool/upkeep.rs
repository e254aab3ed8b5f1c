//! What happens as time passes: idle timeouts, lifetimes, spare connections.

use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::CloseReason;

use crate::pool::{Pool, PoolConfig, ResourceId, ResourceInfo};

/// How often `min_idle` is looked after: a server that closes what it has just accepted is not
/// dialled more often for its sake.
const REFILL_EVERY: Duration = Duration::from_secs(1);
/// How long a pool without a lifetime limit counts as in use after its last request.
const IN_USE_FOR: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(crate) struct Upkeep {
    /// Not later than the next thing to do; `None` if there is nothing.
    due: Option<Instant>,
    /// `due` has become earlier since somebody asked.
    sooner: bool,
    /// Opens that are wanted whether anybody waits or not.
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
            spare: 0,
            refilled: None,
            demands: 0,
            in_use: None,
        }
    }

    pub(crate) const fn spare(&self) -> usize {
        self.spare
    }

    pub(crate) fn want_spare(&mut self, n: usize) {
        self.spare = self.spare.max(n);
    }

    pub(crate) fn forget_spare(&mut self) {
        self.spare = 0;
    }

    /// The pool closes: nothing is due any more.
    pub(crate) fn forget(&mut self) {
        self.spare = 0;
        self.due = None;
    }

    pub(crate) fn open_ended(&mut self) {
        self.spare = self.spare.saturating_sub(1);
    }

    /// There is something to do at `at`.
    #[inline]
    pub(crate) fn at(&mut self, at: Option<Instant>) {
        if let Some(at) = at
            && self.due.is_none_or(|due| at < due)
        {
            self.due = Some(at);
            self.sooner = true;
        }
    }
}

impl<E: Clone> Pool<E> {
    /// When [`tick`](Self::tick) should be called; `None` if there is nothing it would do.
    ///
    /// It may be early, never late: a connection that was to time out may have been used since.
    #[inline]
    pub const fn next_tick(&self) -> Option<Instant> {
        self.upkeep.due
    }

    /// Whether [`next_tick`](Self::next_tick) has become earlier since this was last asked: then a
    /// timer that was set by it is late.
    #[inline]
    pub const fn ticks_sooner(&mut self) -> bool {
        std::mem::replace(&mut self.upkeep.sooner, false)
    }

    /// Nobody will call [`tick`](Self::tick) when it was said to be due:
    /// [`ticks_sooner`](Self::ticks_sooner) says so again.
    pub const fn forget_tick(&mut self) {
        self.upkeep.sooner = self.upkeep.due.is_some();
    }

    /// Closes what has been idle or has lived long enough, ends a back-off that is over, refuses
    /// who waits too long, and asks for spare connections. Looks at each connection if something
    /// is due, and [`next_tick`](Self::next_tick) is later than `now` afterwards.
    pub fn tick(&mut self, now: Instant) {
        self.queue.expire(now, &mut self.effects);
        self.cover(now);
        self.back_off.tick(now);
        if self.upkeep.due.is_none_or(|due| due > now) {
            return;
        }
        self.upkeep.due = self.back_off.waits_until();
        let mut at = 0;
        while let Some((id, next)) = self.resources.next_from(at) {
            self.age(id, now);
            at = next;
        }
        self.refill(now);
    }

    fn age(&mut self, id: ResourceId, now: Instant) {
        let Some(resource) = self.resources.get(id).filter(|found| found.is_live()) else {
            return;
        };
        let idle = resource.leases == 0;
        let due = match (idle, resource.shared) {
            (true, _) => resource.idle_until,
            // It drains and its replacement is opened; one of a single lease ends when that does.
            (false, true) => resource.expires,
            (false, false) => None,
        };
        match resource.outlived(now, idle) {
            Some(reason) if due.is_some_and(|due| due <= now) => self.retire(id, reason),
            _ => self.upkeep.at(due),
        }
    }

    /// The pool is in use: spare connections are due.
    pub(super) fn demand_seen(&mut self, now: Instant) {
        if self.config.min_idle > 0 {
            let next = self.upkeep.refilled.map_or(now, |last| last + REFILL_EVERY);
            self.upkeep.at(Some(next.max(now)));
        }
    }

    /// Asks for the idle connections that are missing, if the pool is in use.
    fn refill(&mut self, now: Instant) {
        let upkeep = &mut self.upkeep;
        if self.config.min_idle == 0 || self.closed {
            return;
        }
        if upkeep.demands != self.totals.demands {
            upkeep.demands = self.totals.demands;
            upkeep.in_use = Some(now);
        }
        let keeps = self.config.max_lifetime.unwrap_or(IN_USE_FOR);
        let in_use = |since: Instant| now.saturating_duration_since(since) < keeps;
        if !upkeep.in_use.is_some_and(in_use) {
            return;
        }
        if let Some(next) = upkeep.refilled.map(|last| last + REFILL_EVERY)
            && next > now
        {
            return upkeep.at(Some(next));
        }
        upkeep.refilled = Some(now);
        let min_idle = self.config.min_idle.min(self.config.max_idle);
        let missing = min_idle.saturating_sub(self.resources.idle());
        if !self.back_off.is_waiting() {
            upkeep.want_spare(missing);
        }
        upkeep.at(Some(now + REFILL_EVERY));
    }

    /// Since when the connection that has been idle longest has been so.
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

    /// What is known about one connection; `None` once it is gone.
    pub fn resource(&self, id: ResourceId) -> Option<ResourceInfo> {
        Some(self.resources.get(id)?.info(id))
    }

    /// Changes the limits. Higher ones take effect at once, but for the owner asking
    /// [`wants_open`](Self::wants_open). A lower `max_open` or `max_idle` closes idle connections
    /// now and active ones as their leases end. New timeouts and lifetimes apply to who waits,
    /// idles or is opened from now on.
    pub fn reconfigure(&mut self, now: Instant, config: PoolConfig) {
        self.config = config;
        while self.resources.idle() > self.config.max_idle || self.is_over_limit() {
            let Some((id, _)) = self.resources.oldest_idle() else {
                break;
            };
            self.retire(id, CloseReason::MaxIdle);
        }
        self.demand_seen(now);
    }
}
