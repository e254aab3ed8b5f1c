//! The origins a pool knows.

use std::hash::BuildHasher;
use std::sync::{Arc, RwLock, RwLockWriteGuard};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use http::{HeaderValue, Uri};
use tollgate_core::lock::{read, write};
use tollgate_core::{Origin, OriginRef};

use crate::pool::origin_pool::OriginPool;
use crate::pool::shared::Shared;

/// The origins a pool knows.
///
/// Held by the pool's handles and by nothing below them, so that dropping the last handle lets go
/// of everything that is not in use.
#[derive(Default)]
pub(crate) struct Origins {
    /// Read on every request, written when an origin is met or forgotten. The hash is keyed, since
    /// the names may come from outside.
    table: RwLock<HashTable<Arc<OriginPool>>>,
    hasher: RandomState,
    /// The number of times that the table was written to.
    #[cfg(test)]
    pub(super) written: std::sync::atomic::AtomicU64,
}

impl Origins {
    /// The origin of a request's URI, met if it is new; `None` if the URI names none.
    pub(crate) fn of_uri(&self, uri: &Uri, shared: &Arc<Shared>) -> Option<Arc<OriginPool>> {
        let key = OriginRef::from_uri(uri)?;
        let hash = self.hasher.hash_one(key);
        let table = read(&self.table);
        // Also one that is about to be forgotten: its demand goes on to its successor.
        let known = table.find(hash, |pool| key == pool.origin).cloned();
        // Before an origin is met, which writes to the table.
        drop(table);
        known.or_else(|| self.meet(&key.to_origin(), shared))
    }

    /// An origin, if it is known.
    pub(crate) fn get(&self, origin: &Origin) -> Option<Arc<OriginPool>> {
        let table = read(&self.table);
        table
            .find(self.hasher.hash_one(origin), is_known(origin))
            .cloned()
    }

    /// An origin, met if it is new; `None` if its scheme is not the pool's to speak, or it cannot be
    /// written into a `Host` header.
    pub(crate) fn meet(&self, origin: &Origin, shared: &Arc<Shared>) -> Option<Arc<OriginPool>> {
        // Read first: a host that is not written as its origin is comes this way with every request.
        if let Some(known) = self.get(origin) {
            return Some(known);
        }
        let (host, uri) = wire_names(origin)?;
        let hash = self.hasher.hash_one(origin);
        let mut table = self.write();
        // Looked for once more: two requests may meet an origin at once, and each would have a cap
        // of its own.
        if let Some(known) = table.find(hash, is_known(origin)) {
            return Some(known.clone());
        }
        let pool = Arc::new(OriginPool::new(origin.clone(), host, uri, shared.clone()));
        table.insert_unique(hash, pool.clone(), |pool| {
            self.hasher.hash_one(&pool.origin)
        });
        // Before the transaction: what follows from it may write to the table.
        drop(table);
        // What it was met with follows from its first transaction: a cap to report, and a time at which
        // it is forgotten if no request ever comes.
        pool.touch(|_| ());
        Some(pool)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashTable<Arc<OriginPool>>> {
        #[cfg(test)]
        self.written
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        write(&self.table)
    }

    /// All origins, at this moment.
    pub(crate) fn all(&self) -> Vec<Arc<OriginPool>> {
        let table = read(&self.table);
        table.iter().cloned().collect()
    }

    /// Takes an origin out of the table: no connection, no request for a while. Handles may still have
    /// it; their requests go to its successor.
    pub(super) fn forget(&self, pool: &Arc<OriginPool>) {
        let hash = self.hasher.hash_one(&pool.origin);
        let mut table = self.write();
        // By identity: a successor of the same name may stand there by now.
        let found = table.find_entry(hash, |known| Arc::ptr_eq(known, pool));
        let forgotten = found.ok().map(|entry| entry.remove().0);
        // Its last word is for the observer, which may not be called under the lock.
        drop(table);
        drop(forgotten);
    }
}

/// Picks the pool of an origin that is not about to be forgotten.
fn is_known(origin: &Origin) -> impl Fn(&Arc<OriginPool>) -> bool {
    |pool| pool.origin == *origin && !pool.is_forgotten()
}

/// The `Host` header and the URI for the connector; `None` for a scheme other than `http` and
/// `https`, and for a host with what is left of a port that is none, as in `http://a.test:-1`.
fn wire_names(origin: &Origin) -> Option<(HeaderValue, Uri)> {
    let host = origin.host();
    if !matches!(origin.scheme(), "http" | "https") || host.contains(':') && !host.starts_with('[')
    {
        return None;
    }
    let authority = if origin.has_default_port() {
        origin.host().to_owned()
    } else {
        format!("{}:{}", origin.host(), origin.port())
    };
    let uri = Uri::builder()
        .scheme(origin.scheme())
        .authority(&*authority)
        .path_and_query("/");
    Some((HeaderValue::from_str(&authority).ok()?, uri.build().ok()?))
}
