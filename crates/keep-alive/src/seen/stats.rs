//! The statistics of a pool.

use std::fmt;
use std::time::Duration;

use tollgate_admission::PoolStats;
use tollgate_core::{CloseReason, Origin, QueueOrder, Table};

use crate::pool::admin::Numbers;
use crate::pool::inner::Inner;
use crate::pool::origin_pool::OriginPool;

/// One origin at one moment.
///
/// The gauges are one consistent reading: `open = active + idle`. The totals count since the pool
/// met the origin. What undici calls connected, running, free, running, pending and queued are
/// `open`, `active`, `idle`, `in_flight`, `connecting` and `queued`.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct OriginStats {
    /// Which origin.
    pub origin: Origin,
    /// Connections established.
    pub open: usize,
    /// Connections without a lease.
    pub idle: usize,
    /// Connections with a lease: a request is on its way or its response is being read.
    pub active: usize,
    /// Leases in use; for HTTP/1 as many as `active`.
    pub in_flight: usize,
    /// Dials in progress.
    pub connecting: usize,
    /// Requests waiting.
    pub queued: usize,
    /// Of those, waiting for a dial of their own; the others wait for capacity, which other requests
    /// have.
    pub queued_for_dial: usize,
    /// The order in which they are served: `newest` while callers leave the queue in numbers.
    pub order: QueueOrder,
    /// Connections that take no more requests and finish those they have.
    pub draining: usize,
    /// The cap on connections.
    pub limit: Option<usize>,
    /// The connections that the peer allows, if fewer: dials beyond them failed while they served. It
    /// is tried again now and then.
    pub peer_limit: Option<usize>,
    /// The most requests that ever waited at once.
    pub queued_peak: usize,
    /// Requests that asked for a connection, retries included.
    pub requests: u64,
    /// Requests that got one.
    pub granted: u64,
    /// Connections opened.
    pub opened: u64,
    /// Grants on a connection that had served before.
    pub reused: u64,
    /// Connections closed.
    pub closed: u64,
    /// Requests refused because the queue was full, the pool draining, or there was no runtime.
    pub refused: u64,
    /// Requests that failed with a dial, in the back-off after failed dials, or because every
    /// connection tried closed before it could be used.
    pub failed: u64,
    /// Requests that waited as long as they may.
    pub timed_out: u64,
    /// Of those, refused before their limit, since too little of it was left to be served.
    pub late: u64,
    /// Requests whose caller went away while they waited.
    pub cancelled: u64,
    /// Of those, requests that had waited for capacity, a millisecond or more.
    pub abandoned: u64,
    /// Granted requests that were cancelled in flight, after waiting longer than they were then given:
    /// work of the peer for no caller.
    pub granted_late: u64,
    /// Exchanges that came to their end: the goodput.
    pub served: u64,
    /// Times that the order turned to newest first.
    pub order_turns: u64,
    /// Waits for a connection that are over, whether one was granted or not.
    pub waited: u64,
    /// The time that they were, all together. What shows the distribution of waits is an observer,
    /// such as `PoolMetrics` of `tollgate-queue-metrics`.
    pub wait_time: Duration,
    /// The part of it in which a dial of the request's own was in progress; the rest was for capacity.
    pub dial_wait_time: Duration,
    /// Dials that failed.
    pub connect_failures: u64,
    /// Response bodies that were dropped early and whose connection lived on, because the rest was
    /// at hand, and answers whose caller had gone when they were due soon. Those that cost the
    /// connection are in `closed_by` under `body_dropped` and `cancelled`.
    pub bodies_drained: u64,
    /// Connections closed, by reason; only reasons that occurred.
    pub closed_by: Vec<(CloseReason, u64)>,
}

impl OriginStats {
    pub(crate) fn new(
        origin: Origin,
        engine: &PoolStats,
        closed_by: &[u64; CloseReason::ALL.len()],
        bodies_drained: u64,
        (waited, wait_time, dial_wait_time): (u64, Duration, Duration),
    ) -> Self {
        let reasons = CloseReason::ALL
            .iter()
            .copied()
            .zip(closed_by.iter().copied());
        Self {
            origin,
            open: engine.open,
            idle: engine.idle,
            active: engine.active,
            in_flight: engine.in_flight,
            connecting: engine.connecting,
            queued: engine.queued,
            queued_for_dial: engine.queued_for_open,
            order: engine.order,
            draining: engine.draining,
            limit: Some(engine.limit),
            peer_limit: engine.peer_limit,
            queued_peak: engine.totals.queued_peak,
            requests: engine.totals.demands,
            granted: engine.totals.granted,
            opened: engine.opened,
            reused: engine.reused,
            closed: engine.closed,
            refused: engine.totals.refused,
            failed: engine.totals.failed,
            timed_out: engine.totals.timed_out,
            late: engine.totals.late,
            cancelled: engine.totals.cancelled,
            abandoned: engine.totals.abandoned,
            granted_late: engine.totals.granted_late,
            served: engine.totals.served,
            order_turns: engine.totals.turns,
            waited,
            wait_time,
            dial_wait_time,
            connect_failures: engine.open_failures,
            bodies_drained,
            closed_by: reasons.filter(|(_, count)| *count > 0).collect(),
        }
    }

    /// Returns the number of connections that were closed for `reason`.
    pub fn closed_for(&self, reason: CloseReason) -> u64 {
        self.closed_by
            .iter()
            .find(|(one, _)| *one == reason)
            .map_or(0, |(_, count)| *count)
    }
}

impl OriginPool {
    /// The origin's numbers, read at one moment.
    pub(crate) fn stats(&self) -> OriginStats {
        self.stats_of(&self.read(Inner::numbers_locked))
    }

    pub(crate) fn stats_of(&self, numbers: &Numbers) -> OriginStats {
        let Numbers(engine, closed_by, drained) = numbers;
        let waits = self.waits.get();
        OriginStats::new(self.origin.clone(), engine, closed_by, *drained, waits)
    }
}

/// All origins of a pool, in the order of their names. `Display` prints an aligned table.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// One entry an origin.
    pub origins: Vec<OriginStats>,
}

impl Snapshot {
    pub(crate) fn new(mut origins: Vec<OriginStats>) -> Self {
        origins.sort_by_cached_key(|stats| stats.origin.to_string());
        Self { origins }
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(&[
            "origin",
            "open",
            "idle",
            "active",
            "connecting",
            "queued",
            "limit",
            "opened",
            "reused",
        ]);
        for s in &self.origins {
            let limit = s
                .limit
                .map_or_else(|| "-".to_owned(), |limit| limit.to_string());
            table.push([
                s.origin.to_string(),
                s.open.to_string(),
                s.idle.to_string(),
                s.active.to_string(),
                s.connecting.to_string(),
                s.queued.to_string(),
                limit,
                s.opened.to_string(),
                s.reused.to_string(),
            ]);
        }
        table.fmt(f)
    }
}
