//! The one task of a pool that keeps its clocks: idle timeouts, lifetimes, stuck uploads.
//!
//! It exists while the pool knows an origin that has something to time, and ends with the pool.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tollgate_core::CloseReason;

use crate::origin_pool::{Inner, OriginPool};
use crate::shared::Shared;

/// How long a finished response may wait for the upload of its request: then the connection is
/// closed. As long as the default idle timeout, which it would otherwise be under.
const STUCK_AFTER: Duration = Duration::from_secs(30);

/// How long an origin without a connection or a waiter is remembered: long enough for a dashboard
/// that looks every 10 or 30 s to see its last counts, short enough for a crawler's memory.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// The pool's maintenance task, as its pool sees it.
#[derive(Default)]
pub(crate) struct Maintenance {
    running: AtomicBool,
    /// Something earlier than what the task sleeps for has come up.
    poked: Arc<Notify>,
}

impl Maintenance {
    /// Starts the task if it is not running, else makes it look again. Without a runtime it is
    /// started by a later call; then this is `false`.
    pub(crate) fn ensure(&self, shared: &Arc<Shared>) -> bool {
        if self.running.load(Ordering::Acquire) {
            self.poked.notify_one();
            return true;
        }
        let Ok(runtime) = Handle::try_current() else {
            return false;
        };
        if !self.running.swap(true, Ordering::AcqRel) {
            let running = Running(Arc::downgrade(shared));
            drop(runtime.spawn(run(running, self.poked.clone())));
        }
        true
    }

    /// Makes the task look again at what comes next.
    pub(crate) fn poke(&self) {
        self.poked.notify_one();
    }
}

/// The task's claim to be the one; given up also when its runtime ends. Then whatever is timed next
/// starts another, on the runtime it happens in.
struct Running(Weak<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.maintenance.running.store(false, Ordering::Release);
            let origins = shared.origins.upgrade();
            for pool in origins.iter().flat_map(|origins| origins.all()) {
                pool.expect_no_look();
            }
        }
    }
}

async fn run(running: Running, poked: Arc<Notify>) {
    loop {
        let next = match running.0.upgrade() {
            Some(shared) => shared.tick(Instant::now()),
            None => return,
        };
        match next {
            Tick::Idle => {
                let weak = running.0.clone();
                drop(running);
                // What was opened between the tick and the claim's end found a task running.
                if let Some(shared) = weak.upgrade().filter(|shared| !shared.is_idle()) {
                    shared.maintenance.ensure(&shared);
                }
                return;
            }
            Tick::At(at) => {
                // Elapsed or poked: either way it is time to look.
                let _either_way = timeout_at(at, poked.notified()).await;
            }
            Tick::WhenPoked => poked.notified().await,
        }
    }
}

/// When maintenance is due next.
enum Tick {
    At(Instant),
    /// There are connections, all of them in use and without a deadline.
    WhenPoked,
    /// There is nothing to look after.
    Idle,
}

impl Shared {
    /// Does what is due in every origin.
    fn tick(self: &Arc<Self>, now: Instant) -> Tick {
        let Some(origins) = self.origins.upgrade() else {
            return Tick::Idle;
        };
        let all = origins.all();
        let next = all.iter().filter_map(|pool| pool.tick(now)).min();
        drop(all);
        origins.forget_unused(now);
        match next {
            Some(at) => Tick::At(at),
            None if origins.is_empty() => Tick::Idle,
            None => Tick::WhenPoked,
        }
    }

    fn is_idle(&self) -> bool {
        self.origins
            .upgrade()
            .is_none_or(|origins| origins.is_empty())
    }
}

impl OriginPool {
    /// Does what is due in this origin; returns when the next thing is.
    fn tick(self: &Arc<Self>, now: Instant) -> Option<Instant> {
        let (next, stuck) = self.with(|inner| {
            inner.engine.tick(now);
            let stuck = inner.stuck_locked(now);
            let next = earliest(inner.engine.next_tick(), inner.next_stuck_locked());
            inner.looked_after_at = earliest(next, inner.forget_at_locked(now));
            (inner.looked_after_at, stuck)
        });
        for conn in stuck {
            conn.close(CloseReason::Stuck);
        }
        crate::dial::start(self);
        next
    }
}

impl Inner {
    /// Whether something has come up that is due before maintenance looks here again.
    #[inline]
    pub(crate) fn needs_earlier_look_locked(&mut self) -> bool {
        if !self.engine.ticks_sooner() {
            return false;
        }
        let Some(due) = self.engine.next_tick() else {
            return false;
        };
        if self.looked_after_at.is_some_and(|planned| planned <= due) {
            return false;
        }
        self.looked_after_at = Some(due);
        true
    }

    /// When the origin is to be forgotten, if nobody uses it.
    fn forget_at_locked(&mut self, now: Instant) -> Option<Instant> {
        let since = self.unused_since.unwrap_or(now);
        self.unused_since = self.engine.is_empty().then_some(since);
        self.unused_since.map(|since| since + FORGET_AFTER)
    }

    pub(crate) fn is_forgotten_locked(&mut self, now: Instant) -> bool {
        self.forget_at_locked(now).is_some_and(|at| at <= now)
    }

    fn stuck_locked(&self, now: Instant) -> Vec<Arc<crate::conn::Conn>> {
        let conns = self.conns.iter().flatten().map(|entry| &entry.conn);
        let stuck = conns.filter(|conn| {
            conn.parked_since()
                .is_some_and(|at| at + STUCK_AFTER <= now)
        });
        stuck.cloned().collect()
    }

    fn next_stuck_locked(&self) -> Option<Instant> {
        let conns = self.conns.iter().flatten().map(|entry| &entry.conn);
        conns
            .filter(|conn| !conn.is_closing())
            .filter_map(|conn| conn.parked_since())
            .min()
            .map(|at| at + STUCK_AFTER)
    }
}

fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}
