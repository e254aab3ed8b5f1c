//! What is done to an origin as a whole: reading it, retiring connections, ending it.

use std::mem;
use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::time::Instant;
use tollgate_admission::PoolStats;
use tollgate_core::{CloseReason, Event};

use crate::conn::Conn;
use crate::origin_pool::{Inner, OriginPool};
use crate::shared::Shared;
use crate::stats::OriginStats;

impl OriginPool {
    pub(crate) fn stats(&self) -> OriginStats {
        self.stats_of(&self.with(|inner| inner.numbers_locked()))
    }

    pub(crate) fn stats_of(&self, numbers: &Numbers) -> OriginStats {
        let Numbers(engine, closed_by, drained) = numbers;
        let waits = self.waits.get();
        OriginStats::new(self.origin.clone(), engine, closed_by, *drained, waits)
    }

    /// The cap that holds at present.
    pub(crate) fn limit(&self) -> usize {
        self.with(|inner| inner.engine.config().max_open.get())
    }

    pub(crate) fn set_limit(self: &Arc<Self>, max: NonZeroUsize) {
        self.change_limit(|inner| inner.limit = max);
        crate::dial::start(self);
    }

    /// A connection was opened, and it speaks this version: it is what the next are expected to, and
    /// HTTP/2 has a cap of its own.
    pub(crate) fn learn_protocol(&self, has_streams: bool) {
        if self.with(|inner| inner.has_streams) != has_streams {
            self.change_limit(|inner| inner.has_streams = has_streams);
        }
    }

    fn change_limit(&self, change: impl FnOnce(&mut Inner)) {
        let (from, to) = self.with(|inner| {
            let from = inner.engine.config().max_open.get();
            change(inner);
            let max = self.shared.config.max_open(inner.limit, inner.has_streams);
            let config = self.shared.config.engine(&self.origin, max);
            let config = config.seed(Shared::next_seed());
            inner.engine.reconfigure(Instant::now(), config);
            (from, max.get())
        });
        self.tell_limit(from, to);
    }

    /// Tells the observer of a limit that is another one.
    pub(crate) fn tell_limit(&self, from: usize, to: usize) {
        if from != to {
            let origin = &self.origin;
            self.observe(|| Event::LimitChanged { origin, from, to });
        }
    }

    /// Tells the observer if another number of connections drain, or of streams is there, than it
    /// knows of.
    pub(crate) fn tell_changes(&self) {
        if self.shared.observer.is_none() {
            return;
        }
        let origin = &self.origin;
        let (draining, streams) = self.with(Inner::changes_locked);
        if let Some((from, to)) = draining {
            self.observe(|| Event::DrainingChanged { origin, from, to });
        }
        if let Some((from, to)) = streams {
            self.observe(|| Event::StreamsChanged { origin, from, to });
        }
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

    /// Closes every connection that is left; returns how many exchanges that ends.
    pub(crate) fn cut(&self) -> usize {
        let left: Vec<_> = self.with(|inner| {
            let conns = inner.conns.iter().flatten();
            conns
                .filter(|entry| !entry.conn.is_told_to_close())
                .map(|entry| {
                    let known = inner.engine.resource(entry.resource);
                    (entry.conn.clone(), known.map_or(0, |one| one.leases))
                })
                .collect()
        });
        for (conn, _) in &left {
            conn.close(CloseReason::Shutdown);
        }
        left.iter().map(|(_, exchanges)| exchanges).sum()
    }
}

/// What a number was and what it is, if that is another.
type Change = Option<(usize, usize)>;

/// The gauges and counters of one moment: the engine's, closes by reason, bodies drained.
pub(crate) struct Numbers(PoolStats, [u64; CloseReason::ALL.len()], u64);

impl Inner {
    /// How many connections drained when this was last asked, and do now, if that is another number;
    /// the same of streams.
    fn changes_locked(&mut self) -> (Change, Change) {
        let changed = |told: &mut usize, to| (*told != to).then(|| (mem::replace(told, to), to));
        (
            changed(&mut self.told_draining, self.engine.draining()),
            changed(&mut self.told_streams, self.engine.streams()),
        )
    }

    pub(crate) fn numbers_locked(&self) -> Numbers {
        Numbers(self.engine.stats(), self.closed_by, self.drained)
    }
}

/// Whoever drops the last reference to an origin holds no lock.
impl Drop for OriginPool {
    fn drop(&mut self) {
        if self.shared.observer.is_some() {
            self.tell_limit(self.limit(), 0);
        }
    }
}
