//! Stalls of the machine: to a thread that did not run for a while, its peer took long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How often a runtime is looked at.
const EVERY: Duration = Duration::from_millis(10);

/// Below the shortest of the pool's own times, which are of 50 ms and more.
const STALL: Duration = Duration::from_millis(20);

/// A flag that is set once a runtime has not run a task for [`STALL`] after it was due.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stalls(Arc<AtomicBool>);

impl Stalls {
    /// Looks at the runtime that this is spawned on, for as long as that runs.
    pub(crate) async fn watch(self) {
        loop {
            let due = Instant::now() + EVERY;
            sleep_until(due).await;
            if due.elapsed() >= STALL {
                self.0.store(true, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn were_seen(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
