//! What the handles of a pool own together, and how that ends.

use std::sync::Arc;

use crate::pool::origins::Origins;
use crate::pool::shared::Shared;

/// The state that the handles of a pool own together.
pub(crate) struct Owner {
    pub(crate) origins: Arc<Origins>,
    pub(crate) shared: Arc<Shared>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Owner {
    /// Takes no new work, closes what idles; exchanges in progress go on.
    pub(crate) fn stop(&self) {
        // Before the origins: one that is met from now on is born stopped, and none slips through.
        self.shared.stop();
        for pool in self.origins.all() {
            pool.stop();
        }
        self.shared.clock.poke();
        self.shared.hosts.end();
    }

    /// Waits until no connection is left.
    pub(crate) async fn emptied(&self) {
        loop {
            // Made before the look: what is gone in between is noticed.
            let gone = self.shared.gone.notified();
            if !self.shared.is_busy() {
                return;
            }
            gone.await;
        }
    }

    pub(crate) fn cut(&self) -> usize {
        self.origins.all().iter().map(|pool| pool.cut()).sum()
    }
}
