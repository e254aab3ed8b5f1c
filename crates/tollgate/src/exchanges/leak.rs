//! Response bodies that are held and not read.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;

use super::{Exchange, Exchanges};
use crate::task_flag::Raised;

impl Exchanges {
    /// Starts the task that looks for leaks, unless there is one. It ends with the table, or when
    /// nothing is under way.
    pub(super) fn look_for_leaks(self: &Arc<Self>) {
        let Some(after) = self.watched.leak_after else {
            return;
        };
        if self.looking.is_up() {
            return;
        }
        if let Ok(runtime) = Handle::try_current()
            && let Some(up) = self.looking.raise()
        {
            drop(runtime.spawn(look(Arc::downgrade(self), after, up)));
        }
    }

    fn leaked(&self, after: Duration) -> Vec<Arc<Exchange>> {
        let now = self.now();
        let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        let is_leaked = |exchange: &&Arc<Exchange>| {
            let read_at = exchange.read_at.load(Relaxed);
            let unread = read_at > 0 && now.saturating_sub(read_at - 1) >= after;
            // A read that waits for the peer is no leak, however long it takes.
            unread && !exchange.reading.load(Relaxed)
        };
        let live = self.lock();
        let unseen = live.values().filter(is_leaked);
        // Once for each body: the next look finds it again.
        let unseen = unseen.filter(|exchange| !exchange.reported.swap(true, Relaxed));
        unseen.cloned().collect()
    }
}

async fn look(table: Weak<Exchanges>, after: Duration, mut up: Raised) {
    // Four looks in the time, so that a leak is named a quarter late at most.
    let every = (after / 4).max(Duration::from_millis(10));
    loop {
        tokio::time::sleep(every).await;
        let Some(table) = table.upgrade() else {
            return;
        };
        for exchange in table.leaked(after) {
            report(&exchange, after);
        }
        if table.lock().is_empty() {
            drop(up);
            // Once more: what entered before that has found the flag up, and started no task.
            if table.lock().is_empty() {
                return;
            }
            match table.looking.raise() {
                Some(again) => up = again,
                None => return,
            }
        }
    }
}

/// Once for each body; never a path, a query or a header.
fn report(exchange: &Exchange, after: Duration) {
    let origin = exchange.destination.origin();
    let origin = origin.map_or_else(String::new, |origin| origin.to_string());
    tracing::warn!(
        target: "tollgate::leak",
        origin,
        method = %exchange.method,
        age = ?tollgate_core::Rounded(exchange.since.elapsed()).duration(),
        unread_for = ?after,
        "a response body is held and not read, and keeps its connection from others; read it to its \
         end, or drop it"
    );
}
