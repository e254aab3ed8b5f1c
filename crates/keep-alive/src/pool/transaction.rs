//! The one way to touch an origin's engine, and everything that follows from a touch.
//!
//! A call site changes the engine and decides nothing else. Before the lock is released, the engine's
//! new state is compared with what the last transaction left, and from the difference follows, by
//! construction: dials to start, places in the total cap to take, pass on or give back, connections to
//! close, an idle connection of another origin to reclaim, the next deadline, an origin that is empty,
//! numbers for the observer. All of it is carried out after the unlock, from a trampoline.
//!
//! Locks: an origin's, then the total cap's or the clock's. No user code, no wake and no drop of a
//! connection under any of them.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;
use tollgate_admission::{Effects, Gone, Machine};
use tollgate_core::{CloseReason, Event, QueueOrder};

use crate::connection::conn::Conn;
use crate::connection::sender::Sender;
use crate::pool::entries::Entry;
use crate::pool::inner::{DialFailure, Inner};
use crate::pool::opening::PoolOpening;
use crate::pool::origin_pool::OriginPool;
use crate::pool::runtimes::DialId;
use crate::pool::shared::{Usage, later};
use crate::pool::total::Passed;
use crate::pool::trampoline;

/// The time that an origin without a connection or a request is remembered: long enough for a
/// dashboard that looks every 10 or 30 s to see its last counts, short enough for a crawler's
/// memory.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// The time that after its own timer a dial is given up by the clock: it runs on a runtime that is
/// not driven, and would hold its place for ever.
pub(super) const OVERDUE: Duration = Duration::from_secs(1);

/// The effects of one transaction, for after the unlock.
struct FollowUp {
    gone: Vec<(Gone, Entry)>,
    changes: Changes,
    closes: Vec<(Arc<Conn>, Option<Sender>, CloseReason)>,
    /// Wakes, when it is dropped.
    effects: Effects<DialFailure>,
    dials: Vec<(Handle, DialId)>,
    passed: Passed,
    /// The clock's keepers sleep too long.
    poke: bool,
    /// The runtimes where it may have none, though a connection of this origin runs there.
    elsewhere: Vec<Handle>,
    usage: Usage,
    forget: bool,
}

/// Numbers that the observer does not have yet: what they were and what they are.
#[derive(Default)]
struct Changes {
    limit: Option<(usize, usize)>,
    draining: Option<(usize, usize)>,
    streams: Option<(usize, usize)>,
    dialling: Option<(usize, usize)>,
    order: Option<(QueueOrder, QueueOrder)>,
}

impl OriginPool {
    /// Runs `f` under the lock, then carries out what follows.
    #[inline]
    pub(crate) fn touch<R>(self: &Arc<Self>, f: impl FnOnce(&mut Inner) -> R) -> R {
        let mut inner = self.lock();
        let result = f(&mut inner);
        // The hit path: nothing follows, no clock is read and nothing is allocated.
        if inner.is_quiet(self.shared.total.is_some()) {
            return result;
        }
        let follow_up = self.settle(&mut inner, Instant::now());
        // Before anything is carried out: a wake may poll its task at once, and that task locks
        // this origin.
        drop(inner);
        let pool = self.clone();
        // Not called from here: what follows may touch this origin again, or another, as deep as
        // there are origins.
        trampoline::run(move || follow_up.carry_out(&pool));
        result
    }

    /// Does what is due.
    pub(super) fn tick(self: &Arc<Self>, now: Instant) {
        let stuck = self.touch(|inner| {
            inner.settled.scheduled = None;
            // Also where nothing was due yet: the clock gets the next deadline.
            inner.settled.stale = true;
            // Before the engine's own tick: the dials that follow may take their places.
            for _ in 0..inner.runtimes.give_up_overdue(now) {
                inner.engine.open_abandoned(now);
            }
            inner.closing.look(now);
            inner.engine.tick(now);
            inner.take_stuck(now)
        });
        // After the lock, since it wakes the driver.
        for conn in stuck {
            conn.close(CloseReason::Stuck);
        }
    }

    /// Derives what follows, with the lock held.
    #[inline(never)]
    fn settle(self: &Arc<Self>, inner: &mut Inner, now: Instant) -> FollowUp {
        let shared = &self.shared;
        inner.settled.stale = false;
        // Taken back, or the next touch would settle for it once more: `schedule` reads the time itself.
        let _looked_at_below = inner.engine.ticks_sooner();
        inner.set_cap(&self.origin, shared, now);
        // Before dials are looked for: what it cuts makes room for one.
        inner.engine.make_room();
        let dials = self.start_dials(inner, now);
        // After the dials: the places that they took are not passed on, and one they did not get is
        // waited for.
        let passed = shared.total.as_ref().map(|total| {
            // Where it has no runtime it can use no place, and once the place was passed on in vain it
            // would wait for none and yet count as waiting.
            let wants = self.dials_on(inner).is_some() && inner.engine.wants_open(now);
            total.settle(self, inner, wants)
        });
        // After both, which change what is open or being opened.
        let sockets = inner.engine.sockets();
        let was_busy = mem::replace(&mut inner.settled.sockets, sockets) > 0;
        let usage = shared.count_busy(self, was_busy, sockets > 0);
        // Once the engine is not called any more: each call above may have added to them.
        let mut effects = inner.engine.take_effects();
        let mut closes = Vec::new();
        while let Some((resource, reason)) = effects.next_close() {
            if shared.total.is_some() {
                inner.closing.told(resource, now);
            }
            closes.extend(inner.take_to_close(resource, reason));
        }
        let forget = inner.note_unused(now);
        if forget {
            // Under the lock, as the flag inside it is: the table has no use for it from now on.
            self.forget();
        }
        // By what is due once all of the above is done.
        let poke = self.schedule(inner);
        FollowUp {
            gone: mem::take(&mut inner.settled.gone),
            changes: inner.changes(),
            closes,
            effects,
            dials,
            passed: passed.unwrap_or_default(),
            poke,
            elsewhere: if poke {
                self.runtimes(inner)
            } else {
                Vec::new()
            },
            usage,
            forget,
        }
    }

    /// Starts as many dials as there is unmet demand and room for; on which runtimes.
    fn start_dials(self: &Arc<Self>, inner: &mut Inner, now: Instant) -> Vec<(Handle, DialId)> {
        let shared = &self.shared;
        let mut dials = Vec::new();
        while inner.engine.wants_open(now) {
            // Before the engine counts an open: without a runtime nothing would ever report its
            // end.
            let Some(runtime) = self.dials_on(inner).cloned() else {
                break;
            };
            // The place before the open, or the cap would be broken between the two. One taken in
            // vain goes back in `TotalCap::settle`.
            let total = shared.total.as_ref();
            if total.is_some_and(|total| !total.acquire(self, inner, now))
                || !inner.engine.start_open(now)
            {
                break;
            }
            let limit = self.connect_timeout().saturating_add(OVERDUE);
            let id = inner.runtimes.dial_started(runtime.id(), later(now, limit));
            dials.push((runtime, id));
        }
        dials
    }

    /// The runtime of the next dial, if there is one.
    fn dials_on<'a>(&'a self, inner: &'a Inner) -> Option<&'a Handle> {
        let named = self.shared.config.runtime.as_ref();
        named.or_else(|| inner.runtimes.pick())
    }

    /// The runtimes but for the current one on which connections of this origin may run.
    fn runtimes(&self, inner: &Inner) -> Vec<Handle> {
        let named = self.shared.config.runtime.as_ref();
        named.map_or_else(|| inner.runtimes.others(), |named| vec![named.clone()])
    }

    /// Tells the clock when something is due here before it would look.
    fn schedule(self: &Arc<Self>, inner: &mut Inner) -> bool {
        let Some(due) = inner.due() else {
            return false;
        };
        let scheduled = inner.settled.scheduled;
        // A look that comes early finds nothing due; one that comes late is a timeout that did not
        // strike.
        if scheduled.is_some_and(|scheduled| scheduled <= due) {
            return false;
        }
        inner.settled.scheduled = Some(due);
        self.shared.clock.schedule(self, scheduled, due)
    }
}

impl Inner {
    /// Notes since when there is nothing here; `true` once, when that has been so for long.
    fn note_unused(&mut self, now: Instant) -> bool {
        let settled = &mut self.settled;
        // An origin that waits for a place is in use: once forgotten, it would get one all the same, and
        // open a connection that no request can reach.
        if !self.engine.is_empty() || self.share.waits() {
            settled.unused_since = None;
            return false;
        }
        let since = *settled.unused_since.get_or_insert(now);
        let forget = !settled.forgotten && now.saturating_duration_since(since) >= FORGET_AFTER;
        settled.forgotten |= forget;
        forget
    }

    /// Returns the time at which the next thing is due here.
    fn due(&self) -> Option<Instant> {
        let unused = self
            .settled
            .unused_since
            .filter(|_| !self.settled.forgotten);
        let forget = unused.map(|since| since + FORGET_AFTER);
        let overdue = self.runtimes.next_overdue();
        let closing = self.closing.next();
        let all = [
            self.engine.next_tick(),
            self.stuck_at,
            overdue,
            closing,
            forget,
        ];
        all.into_iter().flatten().min()
    }

    fn changes(&mut self) -> Changes {
        let settled = &mut self.settled;
        let limit = self.engine.limit();
        Changes {
            limit: changed(
                &mut settled.limit,
                if settled.forgotten { 0 } else { limit },
            ),
            draining: changed(&mut settled.draining, self.engine.draining()),
            streams: changed(&mut settled.streams, self.engine.streams()),
            dialling: changed(&mut settled.dialling, self.engine.queued_for_open()),
            order: changed(
                &mut settled.order,
                if settled.forgotten {
                    QueueOrder::Fifo
                } else {
                    self.engine.order()
                },
            ),
        }
    }
}

/// What was known and what is so now, if that is something else.
fn changed<T: Copy + PartialEq>(known: &mut T, to: T) -> Option<(T, T)> {
    (*known != to).then(|| (mem::replace(known, to), to))
}

impl FollowUp {
    /// Observed first, then closed, then woken: a request that is woken finds what it was woken for,
    /// and the observer knows of it.
    fn carry_out(self, pool: &Arc<OriginPool>) {
        let shared = &pool.shared;
        self.changes.report(pool);
        for (gone, entry) in self.gone {
            pool.report_gone(&gone, &entry);
        }
        for (conn, sender, reason) in self.closes {
            // Closed before its sender goes: without one hyper ends by itself, and the driver would
            // take that for the end of the peer.
            conn.close(reason);
            drop(sender);
        }
        // Queued behind this job: a task that is woken finds the dials begun and the places passed
        // on.
        let effects = self.effects;
        trampoline::run(move || drop(effects));
        for (runtime, id) in self.dials {
            pool.observe(|| Event::ConnectStarted {
                origin: &pool.origin,
            });
            // Before the dial: on a runtime that is not driven only the clock gives it up.
            shared.clock.ensure(shared);
            let opening = PoolOpening::new(pool.clone(), Instant::now(), runtime.id(), id);
            shared.dialer.dial(&runtime, opening);
        }
        for next in self.passed.to {
            trampoline::run(move || next.touch(Inner::place_granted));
        }
        if self.passed.short {
            let shared = shared.clone();
            trampoline::run(move || shared.reclaim());
        }
        if self.poke {
            shared.clock.ensure(shared);
            // A lease may come back on a plain thread, or where nothing is driven from now on.
            for runtime in &self.elsewhere {
                shared.clock.ensure_on(runtime, shared);
            }
            shared.clock.poke();
        }
        match self.usage {
            Usage::Same => {}
            Usage::HostMet => shared.hosts.wake(),
            Usage::Ended => shared.gone.notify_waiters(),
        }
        // At last: its events are all reported, and the successor's begin.
        if self.forget
            && let Some(origins) = shared.origins.upgrade()
        {
            origins.forget(pool);
        }
    }
}

impl Changes {
    fn report(&self, pool: &OriginPool) {
        let origin = &pool.origin;
        if let Some((from, to)) = self.limit {
            pool.observe(|| Event::LimitChanged { origin, from, to });
        }
        if let Some((from, to)) = self.draining {
            pool.observe(|| Event::DrainingChanged { origin, from, to });
        }
        if let Some((from, to)) = self.streams {
            pool.observe(|| Event::StreamsChanged { origin, from, to });
        }
        if let Some((from, to)) = self.dialling {
            pool.observe(|| Event::DiallingChanged { origin, from, to });
        }
        if let Some((from, to)) = self.order {
            pool.observe(|| Event::OrderChanged { origin, from, to });
        }
    }
}
