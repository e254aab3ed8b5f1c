//! Callers that wait for connections which they hold themselves.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::task_local;
use tollgate_keep_alive::OriginStats;

use super::Entry;

/// The time between two looks of a call that waits. The second look in a row that finds a deadlock
/// believes it, so that it is reported within a second.
pub(crate) const RECHECK: Duration = Duration::from_millis(250);

task_local! {
    static SCOPE: Scope;
}

/// The identity of what one piece of work does: its calls, and the bodies it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Scope(u64);

impl Scope {
    pub(super) fn current() -> Option<Self> {
        SCOPE.try_with(|scope| *scope).ok()
    }
}

/// Marks the calls that `work` makes as one piece of work, for
/// [`detect_deadlocks`](crate::ClientBuilder::detect_deadlocks).
///
/// A handler that holds a response and calls the same origin again belongs into one; tasks that it
/// spawns do not inherit it.
///
/// ```
/// # async fn example(client: tollgate::Client) -> Result<(), tollgate::Error> {
/// tollgate::scope(async {
///     let list = client.get("http://billing.internal/v1/invoices").await?;
///     // `list` still holds its connection while each of these waits for another.
///     client.get("http://billing.internal/v1/invoices/7").await?;
///     drop(list);
///     Ok(())
/// })
/// .await
/// # }
/// ```
pub async fn scope<F: Future>(work: F) -> F::Output {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    SCOPE.scope(Scope(NEXT.fetch_add(1, Relaxed)), work).await
}

impl Entry {
    /// Returns true if nothing that this call waits for can come: all connections of its origin are
    /// open and held by scopes that themselves wait for a connection to it, of those for calls or of those
    /// for exchanges that last.
    pub(crate) fn is_deadlocked(&self) -> bool {
        let Some(origin) = self.exchange.destination.origin() else {
            return false;
        };
        let class = self.exchange.class;
        let pool = self.table.pool(class);
        let Some(stats) = pool.and_then(|pool| pool.stats(&origin)) else {
            return false;
        };
        // Before the table is gone through: mostly there is a connection that may yet come.
        if !is_full(&stats) {
            return false;
        }
        let (held, waiting): (Vec<_>, Vec<_>) = self
            .table
            .of(&origin, class)
            .into_iter()
            .partition(|exchange| exchange.granted.load(Relaxed));
        let waits = |scope: Option<Scope>| {
            let mut waiting = waiting.iter();
            scope.is_some() && waiting.any(|exchange| exchange.scope == scope)
        };
        // One that is not in the table, or in no scope, may end by itself.
        held.len() >= stats.in_flight && held.iter().all(|exchange| waits(exchange.scope))
    }
}

fn is_full(stats: &OriginStats) -> bool {
    // A dial under way, or a connection that idles, can still serve the call.
    stats.in_flight > 0 && stats.connecting == 0 && stats.idle == 0
}
