//! How a lease comes back, and how a connection's place does.

use std::sync::Arc;

use tokio::time::Instant;
use tollgate_admission::{ResourceId, Returned};
use tollgate_core::{CloseReason, Event};

use super::{Inner, OriginPool};
use crate::conn::Conn;
use crate::sender::Sender;
use crate::shared::Shared;

impl OriginPool {
    /// Takes a lease back.
    #[inline]
    pub(crate) fn give_back(
        self: &Arc<Self>,
        conn: &Arc<Conn>,
        sender: Option<Sender>,
        returned: Returned,
        granted_at: Instant,
        drained: bool,
    ) {
        let now = Instant::now();
        self.observe(|| Event::Released {
            origin: &self.origin,
            held: now.saturating_duration_since(granted_at),
        });
        let Some(&resource) = conn.resource.get() else {
            return;
        };
        let (unused, returned) = self.with(|inner| {
            inner.drained += u64::from(drained);
            let returned = inner.judge_locked(self, resource, returned, now);
            let mut sender = sender;
            if let (Returned::Reusable { .. }, Some(entry)) =
                (returned, inner.entry_locked(resource))
            {
                // A stream's sender is dropped, outside, if there is one to spare already.
                if entry.sender.is_none() {
                    entry.sender = sender.take();
                }
            }
            inner.engine.lease_returned(resource, now, returned);
            (sender, returned)
        });
        // Outside the lock: both wake the driver.
        if let Returned::Retire(reason) = returned
            && !conn.has_streams
        {
            conn.close(reason);
        }
        drop(unused);
        self.shared.lease_returned();
    }

    /// A lease has become a tunnel: it ends with the connection.
    #[cold]
    pub(crate) fn tunnel_begins(&self, conn: &Conn, granted_at: Instant) {
        // Noted first: a connection that goes meanwhile is seen here, or sees it.
        conn.tunnels_since(granted_at);
        let resource = conn.resource.get().copied();
        let lives = |inner: &mut Inner| {
            resource.is_some_and(|resource| inner.entry_locked(resource).is_some())
        };
        if !self.with(lives) {
            self.tunnel_ended(conn);
        }
    }

    fn tunnel_ended(&self, conn: &Conn) {
        if let Some(granted_at) = conn.take_tunnel() {
            self.observe(|| Event::Released {
                origin: &self.origin,
                held: granted_at.elapsed(),
            });
        }
    }

    /// A lease waits for its upload to end: that has a deadline, which maintenance keeps.
    pub(crate) fn lease_parked(&self) {
        self.shared.maintenance.poke();
    }

    /// The IO object of a connection was dropped: its place is free.
    fn gone(self: &Arc<Self>, conn: &Conn) {
        let Some(&resource) = conn.resource.get() else {
            return;
        };
        let now = Instant::now();
        let reason = conn.reason().unwrap_or(CloseReason::PeerEof);
        let gone = self.with(|inner| {
            let gone = inner.engine.resource_gone(resource, now, reason)?;
            inner.count_closed_locked(&self.shared, gone.reason, now);
            Some((gone, inner.take_entry_locked(resource)))
        });
        if let Some((gone, entry)) = gone {
            drop(entry);
            self.tunnel_ended(conn);
            self.observe(|| Event::Closed {
                origin: &self.origin,
                connection: conn.number,
                reason: gone.reason,
                age: gone.age,
                served: gone.served,
            });
            self.shared.place_free();
            self.shared.gone.notify_waiters();
            // The origin may now be one to forget.
            self.shared.maintenance.poke();
        }
        crate::dial::start(self);
    }

    /// Retires the connections that have idled since `at` or longer.
    pub(crate) fn retire_idle_until(&self, at: Instant, reason: CloseReason) {
        self.with(|inner| inner.engine.retire_idle_until(at, reason));
    }
}

impl Inner {
    fn count_closed_locked(&mut self, shared: &Shared, reason: CloseReason, now: Instant) {
        if let Some(at) = CloseReason::ALL.iter().position(|one| *one == reason) {
            self.closed_by[at] += 1;
        }
        if reason == CloseReason::Unsolicited {
            self.quarantined_until = shared.config.quarantine.map(|quarantine| now + quarantine);
        }
    }

    /// What the pool knows beyond the exchange: quarantine and the limits of hints.
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
        // One that is gone has given its place back, and cannot give way with it again.
        if pool.shared.total.is_some()
            && self.entry_locked(resource).is_some()
            && pool
                .shared
                .must_yield(&pool.origin, self.engine.head_waiting_since())
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
