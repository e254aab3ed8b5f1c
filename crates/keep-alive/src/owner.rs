//! What the handles of a pool own together, and how that ends.

use std::sync::Arc;

use crate::origins::Origins;
use crate::shared::Shared;

/// What the handles of a pool own together.
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
        self.shared.stop();
        for pool in self.origins.all() {
            pool.stop();
        }
        self.shared.maintenance.poke();
    }

    /// Waits until no connection is left.
    pub(crate) async fn emptied(&self) {
        loop {
            let gone = self.shared.gone.notified();
            if self.origins.all().iter().all(|pool| pool.is_unused()) {
                return;
            }
            gone.await;
        }
    }

    pub(crate) fn cut(&self) -> usize {
        self.origins.all().iter().map(|pool| pool.cut()).sum()
    }
}
