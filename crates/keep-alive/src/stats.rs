//! What a pool says of itself.

use std::fmt;
use std::time::Duration;

use tollgate_admission::PoolStats;
use tollgate_core::{CloseReason, Origin};

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
    /// Connections that take no more requests and finish those they have.
    pub draining: usize,
    /// The cap on connections.
    pub limit: Option<usize>,
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
    /// Requests whose caller went away while they waited.
    pub cancelled: u64,
    /// Waits for a connection that are over, whether one was granted or not.
    pub waited: u64,
    /// How long they were, all together. What shows the distribution of waits is an observer, such
    /// as `PoolMetrics` of `tollgate-queue-metrics`.
    pub wait_time: Duration,
    /// Dials that failed.
    pub connect_failures: u64,
    /// Response bodies that were dropped early and whose connection lived on, because the rest was
    /// at hand. Those that cost the connection are in `closed_by` under `body_dropped`.
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
        (waited, wait_time): (u64, Duration),
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
            draining: engine.draining,
            limit: Some(engine.limit),
            queued_peak: engine.totals.queued_peak,
            requests: engine.totals.demands,
            granted: engine.totals.granted,
            opened: engine.opened,
            reused: engine.reused,
            closed: engine.closed,
            refused: engine.totals.refused,
            failed: engine.totals.failed,
            timed_out: engine.totals.timed_out,
            cancelled: engine.totals.cancelled,
            waited,
            wait_time,
            connect_failures: engine.open_failures,
            bodies_drained,
            closed_by: reasons.filter(|(_, count)| *count > 0).collect(),
        }
    }

    /// How many connections were closed for `reason`.
    pub fn closed_for(&self, reason: CloseReason) -> u64 {
        self.closed_by
            .iter()
            .find(|(one, _)| *one == reason)
            .map_or(0, |(_, count)| *count)
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
        let names: Vec<String> = self.origins.iter().map(|s| s.origin.to_string()).collect();
        let width = names
            .iter()
            .map(String::len)
            .max()
            .unwrap_or(0)
            .max("origin".len());
        write!(
            f,
            "{:width$}  {:>5} {:>5} {:>6} {:>10}",
            "origin", "open", "idle", "active", "connecting"
        )?;
        write!(
            f,
            " {:>6} {:>5} {:>8} {:>8}",
            "queued", "limit", "opened", "reused"
        )?;
        for (name, s) in names.iter().zip(&self.origins) {
            let limit = s
                .limit
                .map_or_else(|| "-".to_owned(), |limit| limit.to_string());
            write!(
                f,
                "\n{name:width$}  {:>5} {:>5} {:>6}",
                s.open, s.idle, s.active
            )?;
            write!(f, " {:>10} {:>6} {limit:>5}", s.connecting, s.queued)?;
            write!(f, " {:>8} {:>8}", s.opened, s.reused)?;
        }
        Ok(())
    }
}
