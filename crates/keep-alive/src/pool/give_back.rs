//! The way back of a lease, and of a connection's place.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tollgate_admission::{Gone, ResourceId, Returned};
use tollgate_core::{CloseReason, Event, ExchangeEnd};

use crate::connection::conn::Conn;
use crate::connection::sender::Sender;
use crate::pool::entries::Entry;
use crate::pool::inner::{Inner, STUCK_AFTER};
use crate::pool::origin_pool::OriginPool;
use crate::pool::shared::{Shared, later};

/// How the exchange of a lease ended, for what the queue learns of uses and of callers (A13).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Exchange {
    /// With the whole answer.
    Whole,
    /// Its caller left before the head; it had waited so long for capacity.
    Left(Duration),
    /// In another way, which says nothing of either.
    Other(ExchangeEnd),
}

impl Exchange {
    const fn end(self) -> ExchangeEnd {
        match self {
            Self::Whole => ExchangeEnd::Whole,
            Self::Left(_) => ExchangeEnd::Left,
            Self::Other(end) => end,
        }
    }
}

impl OriginPool {
    /// Takes a lease back.
    #[inline]
    pub(crate) fn give_back(
        self: &Arc<Self>,
        conn: &Arc<Conn>,
        sender: Option<Sender>,
        returned: Returned,
        granted_at: Instant,
        exchange: Exchange,
        drained: bool,
    ) {
        let now = Instant::now();
        // Before it can be granted again: the next lease reads off this how long it idled.
        conn.exchange_ended(now);
        // Before it can be granted again: the observer sees the release first.
        let held = now.saturating_duration_since(granted_at);
        self.observe(|| Event::Released {
            origin: &self.origin,
            held,
            end: exchange.end(),
        });
        let Some(&resource) = conn.resource.get() else {
            return;
        };
        let unused = self.touch(|inner| {
            inner.drained += u64::from(drained);
            // Judged and returned under one lock: between two, a waiting origin could be passed by.
            let returned = inner.judge_locked(self, resource, returned, now);
            let mut sender = sender;
            if let (Returned::Reusable { .. }, Some(entry)) =
                (returned, inner.entry_locked(resource))
            {
                // A stream's sender is dropped, outside, if there is one to spare already.
                // In its entry by the time the lock is open: the request that collects the next
                // reservation takes it from there.
                if entry.sender.is_none() {
                    entry.sender = sender.take();
                }
            }
            // Before the lease goes on: what it teaches counts for the next grant.
            match exchange {
                Exchange::Whole => inner.engine.used(now, held),
                Exchange::Left(waited) => inner.engine.abandoned(now, waited, held),
                Exchange::Other(_) => {}
            }
            inner.engine.lease_returned(resource, now, returned);
            sender
        });
        // Outside the lock: it wakes the driver.
        drop(unused);
    }

    /// A lease has become a tunnel: it ends with the connection.
    #[cold]
    pub(crate) fn tunnel_begins(self: &Arc<Self>, conn: &Conn, granted_at: Instant) {
        // Noted first: a connection that goes meanwhile is seen here, or sees it.
        conn.tunnels_since(granted_at);
        let resource = conn.resource.get().copied();
        let lives = |inner: &mut Inner| {
            resource.is_some_and(|resource| inner.entry_locked(resource).is_some())
        };
        if !self.touch(lives) {
            self.tunnel_ended(conn);
        }
    }

    fn tunnel_ended(&self, conn: &Conn) {
        if let Some(granted_at) = conn.take_tunnel() {
            self.observe(|| Event::Released {
                origin: &self.origin,
                held: granted_at.elapsed(),
                end: ExchangeEnd::Whole,
            });
        }
    }

    /// A lease is about to wait until hyper is ready: nearly always for a moment, which the next demand
    /// waits too, or for its upload to end, which has a deadline. A pool that has stopped does not wait.
    pub(crate) fn lease_parks(self: &Arc<Self>, conn: &Conn) {
        if self.shared.is_stopped() {
            return conn.close(CloseReason::Shutdown);
        }
        let now = Instant::now();
        let until = later(now, STUCK_AFTER);
        // Before the clock has the time: its look closes what is parked longer than is noted here.
        conn.parks_until(until);
        self.touch(|inner| {
            if let Some(&resource) = conn.resource.get() {
                inner.engine.lease_ending(resource, now);
            }
            inner.lease_parks(until);
        });
    }

    /// The caller of an exchange has left, for which it had `waited`. The time until which its answer is
    /// taken in all the same, if it is due soon and a connection is worth it.
    #[cold]
    pub(crate) fn caller_left(
        self: &Arc<Self>,
        granted_at: Instant,
        waited: Duration,
    ) -> Option<Instant> {
        let now = Instant::now();
        let held = now.saturating_duration_since(granted_at);
        let due = self.touch(|inner| {
            // First: whether callers leave in numbers is judged with this one.
            inner.engine.abandoned(now, waited, held);
            let due = inner.engine.due_within(now, held);
            if let Some(due) = due {
                inner.lease_parks(later(now, due));
            }
            due
        });
        due.map(|due| later(now, due))
    }

    /// The IO object of a connection was dropped: its place is free.
    fn gone(self: &Arc<Self>, conn: &Conn) {
        // Before the engine has a name for it, the end of its opening frees the place.
        let Some(&resource) = conn.resource.get() else {
            return;
        };
        let now = Instant::now();
        let reason = conn.reason().unwrap_or(CloseReason::PeerEof);
        self.touch(|inner| {
            if let Some(error) = conn.refused_by_peer() {
                // Under the same lock as the loss: a request that finds its reservation lost looks here
                // for the cause.
                inner.refused = Some((now, Arc::new(error)));
            }
            let gone = inner.engine.resource_gone(resource, now, reason);
            if let (Some(gone), Some(entry)) = (gone, inner.take_entry_locked(resource)) {
                inner.count_closed_locked(&self.shared, gone.reason, now);
                // Dropped after the unlock: an entry owns a sender, and dropping that wakes its
                // driver.
                inner.settled.gone.push((gone, entry));
            }
        });
    }

    /// Reports the end of a connection, and of the tunnel that it may have been.
    pub(super) fn report_gone(&self, gone: &Gone, entry: &Entry) {
        // The release first: the observer sees a lease end before its connection does.
        self.tunnel_ended(&entry.conn);
        self.observe(|| Event::Closed {
            origin: &self.origin,
            connection: entry.conn.number,
            reason: gone.reason,
            age: gone.age,
            served: gone.served,
        });
    }

    /// Retires the connections that have idled since `at` or longer.
    pub(crate) fn retire_idle_until(self: &Arc<Self>, at: Instant, reason: CloseReason) {
        self.touch(|inner| inner.engine.retire_idle_until(at, reason));
    }
}

impl Inner {
    fn count_closed_locked(&mut self, shared: &Shared, reason: CloseReason, now: Instant) {
        if let Some(at) = CloseReason::ALL.iter().position(|one| *one == reason) {
            self.closed_by[at] += 1;
        }
        if reason == CloseReason::Unsolicited {
            self.quarantined_until = shared.config.quarantine.map(|length| later(now, length));
        }
    }

    /// Applies the pool's own limits: quarantine, and those of hints.
    #[inline]
    fn judge_locked(
        &mut self,
        pool: &OriginPool,
        resource: ResourceId,
        returned: Returned,
        now: Instant,
    ) -> Returned {
        if self.quarantined_until.is_some_and(|until| now < until) {
            return Returned::Retire(CloseReason::Unsolicited);
        }
        // A connection that is gone has given its place back, and cannot give way with it again.
        if let Some(total) = &pool.shared.total
            && total.is_blocking()
            && self.entry_locked(resource).is_some()
            && total.gives_way(pool, self, now)
        {
            return Returned::Retire(CloseReason::Reclaimed);
        }
        returned
    }
}

/// A connection's place in the cap, owned by its IO object: dropping it frees the place.
pub(crate) struct Place {
    pub(crate) origin: Arc<OriginPool>,
    pub(crate) conn: Arc<Conn>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.origin.gone(&self.conn);
    }
}
