//! What is done to an origin as a whole: reading it, retiring connections, ending it.

use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::time::Instant;
use tollgate_admission::PoolStats;
use tollgate_core::CloseReason;

#[cfg(test)]
use crate::connection::conn::Conn;
use crate::pool::inner::Inner;
use crate::pool::origin_pool::OriginPool;

impl OriginPool {
    /// The cap that holds at present.
    pub(crate) fn limit(&self) -> usize {
        self.read(|inner| inner.engine.limit())
    }

    pub(crate) fn set_limit(self: &Arc<Self>, max: NonZeroUsize) {
        // Noted first: an origin that is forgotten and met anew meanwhile begins with it.
        self.shared.set_limit(&self.origin, max);
        self.touch(|inner| inner.set_limit(max));
    }

    /// Retires the connections that `which` picks: those that idle now, the others in time.
    #[cfg(test)]
    pub(crate) fn retire(self: &Arc<Self>, reason: CloseReason, which: impl Fn(&Conn) -> bool) {
        self.touch(|inner| {
            for entry in inner
                .conns
                .iter()
                .flatten()
                .filter(|entry| which(&entry.conn))
            {
                inner.engine.retire(entry.resource, reason);
            }
        });
    }

    /// Takes no more requests, and closes what idles and what only waits for an upload whose
    /// response is complete.
    pub(crate) fn stop(self: &Arc<Self>) {
        let parked = self.touch(|inner| {
            inner.engine.drain(Instant::now());
            let conns = inner.conns.iter().flatten().map(|entry| entry.conn.clone());
            conns
                .filter(|conn| conn.parked.is_occupied())
                .collect::<Vec<_>>()
        });
        // After the lock, since a close wakes the driver.
        for conn in parked {
            conn.close(CloseReason::Shutdown);
        }
    }

    /// Closes every connection that is left; returns how many exchanges that ends.
    pub(crate) fn cut(&self) -> usize {
        let left: Vec<_> = self.read(|inner| {
            let conns = inner.conns.iter().flatten();
            conns
                .filter(|entry| !entry.conn.is_told_to_close() && !entry.conn.is_tunnel())
                .map(|entry| {
                    let known = inner.engine.resource(entry.resource);
                    (entry.conn.clone(), known.map_or(0, |one| one.leases))
                })
                .collect()
        });
        // After the lock, as above.
        for (conn, _) in &left {
            conn.close(CloseReason::Shutdown);
        }
        left.iter().map(|(_, exchanges)| exchanges).sum()
    }
}

/// The gauges and counters of one moment: the engine's, closes by reason, bodies drained.
pub(crate) struct Numbers(
    pub(crate) PoolStats,
    pub(crate) [u64; CloseReason::ALL.len()],
    pub(crate) u64,
);

impl Inner {
    pub(crate) fn numbers_locked(&self) -> Numbers {
        Numbers(self.engine.stats(), self.closed_by, self.drained)
    }
}
