//! The whole answer, for those who were given a part of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tollgate_core::late;

use crate::addrs::{Addrs, Freshness};
use crate::cache::Cache;
use crate::entry::Entry;

/// Tells those who were given a part of an answer what the whole one is. Dropped without a word if
/// none came.
pub(crate) type Tell = watch::Sender<Option<Arc<Entry>>>;

/// An answer of which one family was out when it was given.
#[derive(Clone, Debug)]
pub(crate) struct Awaited {
    whole: watch::Receiver<Option<Arc<Entry>>>,
    /// When the first family was there.
    since: Instant,
}

impl Awaited {
    pub(crate) fn new(waited: Duration, now: Instant) -> (Tell, Self) {
        let (tell, whole) = watch::channel(None);
        let since = now.checked_sub(waited).unwrap_or(now);
        (tell, Self { whole, since })
    }

    /// Whether the wait ended with nothing.
    pub(crate) fn is_over(&self) -> bool {
        self.whole.has_changed().is_err() && self.whole.borrow().is_none()
    }

    async fn addrs(mut self, cache: Arc<Cache>) -> Vec<SocketAddr> {
        let whole = match self.whole.wait_for(Option::is_some).await {
            Ok(whole) => whole.clone(),
            Err(_) => None,
        };
        let serve = |entry| cache.serve(entry, Instant::now(), Freshness::Fresh);
        whole.map_or_else(Vec::new, |entry| serve(entry).collect())
    }
}

/// Tells the dial that is about to be given `addrs`, if there is one, that more follows, if it does.
pub(crate) fn announce(addrs: &Addrs, cache: &Arc<Cache>) {
    if let Some(awaited) = addrs.awaited()
        && late::is_heard()
    {
        let waited = awaited.since.elapsed();
        late::follow(waited, awaited.clone().addrs(Arc::clone(cache)));
    }
}
