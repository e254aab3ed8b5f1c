//! One origin, as all three forms show it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tollgate_keep_alive::OriginStats;

use super::history::{History, Sample};
use crate::client::Client;
use crate::exchanges::Exchanges;
use crate::long_lived::Class;

#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Row {
    pub(super) stats: OriginStats,
    /// The connections are those for exchanges that last.
    pub(super) long_lived: bool,
    /// Connections in use and draining, as a share of the limit.
    pub(super) share: f64,
    pub(super) mean_wait: Duration,
    /// `None` of a client that does not watch its exchanges, or without any.
    pub(super) oldest_exchange: Option<Duration>,
    /// Connections by address of the peer.
    pub(super) addresses: Vec<(SocketAddr, usize)>,
    pub(super) history: Vec<Sample>,
}

/// All origins, the fullest first.
pub(super) fn rows(client: &Client, history: &History) -> Vec<Row> {
    let snapshot = client.snapshot();
    let calls = snapshot.origins.into_iter().map(|stats| (stats, false));
    let lasting = snapshot.long_lived.into_iter().map(|stats| (stats, true));
    let all = calls.chain(lasting);
    let mut rows: Vec<_> = all
        .map(|(stats, long_lived)| row(client, history, stats, long_lived))
        .collect();
    rows.sort_by(|a, b| {
        let fullness = |row: &Row| (row.stats.queued, row.share);
        let (a_full, b_full) = (fullness(a), fullness(b));
        let by_queue = b_full.0.cmp(&a_full.0);
        by_queue
            .then(b_full.1.total_cmp(&a_full.1))
            // By name at last, so that rows of equal load keep their places from look to look.
            .then_with(|| a.stats.origin.to_string().cmp(&b.stats.origin.to_string()))
    });
    rows
}

fn row(client: &Client, history: &History, stats: OriginStats, long_lived: bool) -> Row {
    let mut addresses = BTreeMap::new();
    let shared = client.shared();
    let pool = shared.long_lived.as_ref().filter(|_| long_lived);
    if let Some(detail) = pool.unwrap_or(&shared.pool).detail(&stats.origin) {
        for remote in detail.connections.iter().filter_map(|one| one.remote) {
            *addresses.entry(remote).or_default() += 1;
        }
    }
    let waited = u32::try_from(stats.waited).unwrap_or(u32::MAX).max(1);
    let class = if long_lived {
        Class::LongLived
    } else {
        Class::Call
    };
    let oldest = |exchanges: &Exchanges| exchanges.oldest(&stats.origin, class);
    Row {
        share: share(&stats),
        mean_wait: stats.wait_time / waited,
        oldest_exchange: shared.exchanges().and_then(oldest),
        addresses: addresses.into_iter().collect(),
        history: history.of(class, &stats.origin),
        long_lived,
        stats,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share is not exact")]
fn share(stats: &OriginStats) -> f64 {
    let limit = stats.limit.unwrap_or(0).max(1);
    (stats.active + stats.draining) as f64 / limit as f64
}
