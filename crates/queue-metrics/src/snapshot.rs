//! The counts as plain values.

use std::fmt;
use std::time::Duration;

use tollgate_core::{CloseReason, ConnectErrorKind, ExchangeEnd, RefuseReason, Table};

/// The counts of a [`PoolMetrics`](crate::PoolMetrics).
///
/// Each number is one relaxed load: numbers that belong together can be apart by what happened
/// while they were read. [`OriginStats::open`] is always the sum of active and idle, though, and
/// when nothing happens everything adds up.
///
/// `Display` is an aligned table with one line for each origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PoolSnapshot {
    /// In the order of address and port; `_other` last.
    pub origins: Vec<OriginStats>,
    /// In the order of names; `_other` last.
    pub names: Vec<NameStats>,
    /// The number of origins that share `_other`: an estimate.
    pub origins_overflowed: u64,
}

/// The counts of one origin.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct OriginStats {
    /// Its host, or the group it is in, or `_other`.
    pub server_address: String,
    /// Its port; 0 for `_other`.
    pub server_port: u16,
    /// The limit; of a group, the sum of its origins' limits.
    pub limit: Option<u64>,
    /// The most requests in flight at once: the limit times what an open connection carries on
    /// average, which is one for HTTP/1 and while none is open.
    pub requests_limit: Option<u64>,
    /// Connections established: active and idle ones.
    pub open: u64,
    /// Connections that serve: exact for HTTP/1, at most this many for HTTP/2.
    pub active: u64,
    /// Connections that wait for a request.
    pub idle: u64,
    /// Leases in use.
    pub in_flight: u64,
    /// Dials under way.
    pub connecting: u64,
    /// Connections that take no more requests and live beside their replacement until those they
    /// have are over: not among the open ones.
    pub draining: u64,
    /// Requests waiting.
    pub queued: u64,
    /// The most that waited at once since three reports ago.
    pub queued_peak: u64,
    /// Of those that wait now, the ones that have a dial of their own; the others wait for capacity.
    pub queued_for_dial: u64,
    /// Times that the queue turned to newest first, since callers left it in numbers.
    pub order_turns: u64,
    /// Requests that got a lease.
    pub granted: u64,
    /// Those of them on a connection that had served before.
    pub reused: u64,
    /// Requests that got none, by reason, without the reasons that never were.
    pub refused: Vec<(RefuseReason, u64)>,
    /// Exchanges that ended, by how; whole ones are the goodput.
    pub exchanges: Vec<(ExchangeEnd, u64)>,
    /// Connections ever opened.
    pub opened: u64,
    /// Connections ever closed, by reason.
    pub closed: Vec<(CloseReason, u64)>,
    /// Dials that failed, by what went wrong.
    pub connect_failed: Vec<(ConnectErrorKind, u64)>,
    /// Requests started again on another connection.
    pub retried: u64,
    /// Waits for capacity since the beginning, zeros included: without dials of their own.
    pub waits: Distribution,
    /// Waits for a dial of their own, of those that did.
    pub dial_waits: Distribution,
    /// Times that leases were held for whole exchanges.
    pub uses: Distribution,
}

impl OriginStats {
    /// Every request that was ever taken up: granted, refused or still waiting.
    pub fn demands(&self) -> u64 {
        self.granted + self.refused_in_all() + self.queued
    }

    /// Requests that got no lease, whatever the reason.
    pub fn refused_in_all(&self) -> u64 {
        self.refused.iter().map(|(_, count)| count).sum()
    }
}

/// The counts of one name in the DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct NameStats {
    /// The name, or `_other`.
    pub name: String,
    /// Questions to the cache, by its answer: `hit`, `stale`, `miss`, `negative` or `other`.
    pub results: Vec<(&'static str, u64)>,
    /// Times of lookups that the resolver answered.
    pub answered: Distribution,
    /// Times of lookups that failed, by a word for the failure.
    pub failed: Vec<(&'static str, Distribution)>,
}

/// The counts of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ServiceStats {
    /// The name that the layer was given.
    pub service: String,
    /// Callers that wait in `poll_ready`.
    pub queued: u64,
    /// The most that waited at once since three reports ago.
    pub queued_peak: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Requests that ended well.
    pub ok: u64,
    /// Requests that ended in an error: in `poll_ready`, in the call or in the body.
    pub error: u64,
    /// Requests whose caller went away.
    pub cancelled: u64,
    /// The waits of requests.
    pub waits: Distribution,
    /// From the call to the end.
    pub durations: Distribution,
}

/// The distribution of a duration since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Distribution {
    /// The number of values.
    pub count: u64,
    /// All of them together.
    pub sum: Duration,
    /// Half were at most this: the bound of a bucket.
    pub p50: Duration,
    /// 99 of 100 were at most this: the bound of a bucket.
    pub p99: Duration,
}

impl fmt::Display for PoolSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(&[
            "origin", "limit", "open", "active", "idle", "opening", "queued", "peak", "granted",
            "reused", "refused", "failed", "wait p50", "wait p99",
        ]);
        for origin in &self.origins {
            table.push(origin.cells());
        }
        table.fmt(f)?;
        if self.origins_overflowed > 0 {
            write!(
                f,
                "\n_other stands for about {} origins",
                self.origins_overflowed
            )?;
        }
        Ok(())
    }
}

impl OriginStats {
    fn cells(&self) -> Vec<String> {
        let failed: u64 = self.connect_failed.iter().map(|(_, count)| count).sum();
        vec![
            format!("{}:{}", self.server_address, self.server_port),
            self.limit
                .map_or_else(|| "-".to_owned(), |limit| limit.to_string()),
            self.open.to_string(),
            self.active.to_string(),
            self.idle.to_string(),
            self.connecting.to_string(),
            self.queued.to_string(),
            self.queued_peak.to_string(),
            self.granted.to_string(),
            self.reused.to_string(),
            self.refused_in_all().to_string(),
            failed.to_string(),
            format!("{:?}", self.waits.p50),
            format!("{:?}", self.waits.p99),
        ]
    }
}

/// The values of a closed list that were counted at all.
pub(crate) fn counted<T: Copy>(all: &[T], counts: &[u64]) -> Vec<(T, u64)> {
    let pairs = all.iter().copied().zip(counts.iter().copied());
    pairs.filter(|(_, count)| *count > 0).collect()
}
