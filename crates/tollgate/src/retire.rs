//! Connections leave addresses that left the DNS answer.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::sleep;
use tollgate_cached_dns::DnsChanges;

use crate::client::Shared;

/// From one address to the next: a name that moved altogether does not lose all its connections in
/// one instant, and a hundred addresses are still left within the lifetime of a connection.
const PACE: Duration = Duration::from_millis(100);

/// Whether a task watches the DNS cache.
///
/// The task is spawned by the first request, as a client may be built outside a runtime, and again
/// by a later one if its runtime has ended. It keeps neither the pool nor the cache alive.
#[derive(Debug, Default)]
pub(crate) struct Retiring {
    watched: Arc<AtomicBool>,
}

impl Shared {
    /// Sees to it that somebody watches. One load when somebody does.
    pub(crate) fn watch(self: &Arc<Self>) {
        if !self.retiring.watched.load(Acquire) {
            self.start_watching();
        }
    }

    #[cold]
    fn start_watching(self: &Arc<Self>) {
        let watched = &self.retiring.watched;
        let Some(dns) = &self.dns else {
            // Nothing to watch, ever.
            watched.store(true, Release);
            return;
        };
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if !watched.swap(true, AcqRel) {
            let until_dropped = Watching(Arc::clone(watched));
            let client = Arc::downgrade(self);
            drop(runtime.spawn(watch(dns.subscribe(), client, until_dropped)));
        }
    }
}

/// Says that nobody watches any more, whether the task ended or its runtime did.
struct Watching(Arc<AtomicBool>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.store(false, Release);
    }
}

async fn watch(mut changes: DnsChanges, client: Weak<Shared>, _watching: Watching) {
    while let Some(change) = changes.recv().await {
        for addr in change.gone.iter() {
            let Some(client) = client.upgrade() else {
                return;
            };
            client.pool.retire(addr.ip());
            // Not held through the pause: a client that is dropped meanwhile is dropped at once.
            drop(client);
            sleep(PACE).await;
        }
    }
}
