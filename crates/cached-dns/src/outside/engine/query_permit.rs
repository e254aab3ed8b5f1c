//! Permits for queries.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::cache::flights::Waiters;

/// A permit for a query, given back once: by the query's end, or by `reclaim`.
pub(super) struct QueryPermit<'a> {
    lookups: &'a Semaphore,
    waiters: Arc<Waiters>,
}

impl<'a> QueryPermit<'a> {
    pub(super) fn new(
        permit: SemaphorePermit<'_>,
        lookups: &'a Semaphore,
        waiters: &Arc<Waiters>,
    ) -> Self {
        // Given back by hand: by the query's end or by `reclaim`, whichever swaps the flag first.
        permit.forget();
        waiters.has_permit.store(true, Relaxed);
        Self {
            lookups,
            waiters: Arc::clone(waiters),
        }
    }
}

impl Drop for QueryPermit<'_> {
    fn drop(&mut self) {
        if self.waiters.has_permit.swap(false, Relaxed) {
            self.lookups.add_permits(1);
        }
    }
}
