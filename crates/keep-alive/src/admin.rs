//! What is done to an origin as a whole: reading it, retiring connections, ending it.

use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::time::Instant;
use tollgate_core::CloseReason;

use crate::conn::Conn;
use crate::origin_pool::OriginPool;
use crate::shared::Shared;
use crate::stats::OriginStats;

impl OriginPool {
    pub(crate) fn stats(&self) -> OriginStats {
        let (engine, closed_by, drained) =
            self.with(|inner| (inner.engine.stats(), inner.closed_by, inner.drained));
        OriginStats::new(self.origin.clone(), &engine, &closed_by, drained)
    }

    pub(crate) fn set_limit(self: &Arc<Self>, max: NonZeroUsize) {
        let config = self.shared.config.engine(max).seed(Shared::next_seed());
        self.with(|inner| inner.engine.reconfigure(Instant::now(), config));
        crate::dial::start(self);
    }

    /// Retires the connections that `which` picks: those that idle now, the others in time.
    pub(crate) fn retire(&self, reason: CloseReason, which: impl Fn(&Conn) -> bool) {
        self.with(|inner| {
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
    pub(crate) fn stop(&self) {
        let parked = self.with(|inner| {
            inner.engine.drain(Instant::now());
            let conns = inner.conns.iter().flatten().map(|entry| entry.conn.clone());
            conns
                .filter(|conn| conn.parked.is_occupied())
                .collect::<Vec<_>>()
        });
        for conn in parked {
            conn.close(CloseReason::Shutdown);
        }
    }

    /// Closes every connection that is left; returns how many there were.
    pub(crate) fn cut(&self) -> usize {
        let conns = self.with(|inner| {
            let conns = inner.conns.iter().flatten().map(|entry| entry.conn.clone());
            conns.filter(|conn| !conn.is_closing()).collect::<Vec<_>>()
        });
        for conn in &conns {
            conn.close(CloseReason::Shutdown);
        }
        conns.len()
    }
}
