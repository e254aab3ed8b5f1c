//! The origins a pool knows.

use std::hash::BuildHasher;
use std::sync::{Arc, PoisonError, RwLock};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use http::{HeaderValue, Uri};
use tokio::time::Instant;
use tollgate_core::{Origin, OriginRef};

use crate::origin_pool::OriginPool;
use crate::shared::Shared;

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
}

impl Origins {
    /// The origin of a request's URI, met if it is new; `None` if the URI names none.
    pub(crate) fn of_uri(&self, uri: &Uri, shared: &Arc<Shared>) -> Option<Arc<OriginPool>> {
        let key = OriginRef::from_uri(uri)?;
        let hash = self.hasher.hash_one(key);
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let known = table.find(hash, |pool| key == pool.origin).cloned();
        drop(table);
        known.or_else(|| self.meet(&key.to_origin(), shared))
    }

    /// An origin, if it is known.
    pub(crate) fn get(&self, origin: &Origin) -> Option<Arc<OriginPool>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table
            .find(self.hasher.hash_one(origin), |pool| pool.origin == *origin)
            .cloned()
    }

    /// An origin, met if it is new; `None` if it cannot be written into a `Host` header.
    pub(crate) fn meet(&self, origin: &Origin, shared: &Arc<Shared>) -> Option<Arc<OriginPool>> {
        let (host, uri) = wire_names(origin)?;
        let hash = self.hasher.hash_one(origin);
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = table.find(hash, |pool| pool.origin == *origin) {
            return Some(known.clone());
        }
        let pool = Arc::new(OriginPool::new(origin.clone(), host, uri, shared.clone()));
        let limit = pool.limit();
        table.insert_unique(hash, pool.clone(), |pool| {
            self.hasher.hash_one(&pool.origin)
        });
        drop(table);
        // What it was met with: a change since then has told of itself.
        pool.tell_limit(0, limit);
        Some(pool)
    }

    /// All origins, at this moment.
    pub(crate) fn all(&self) -> Vec<Arc<OriginPool>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.iter().cloned().collect()
    }

    /// Forgets the origins that nobody has used for a while: no connection, nobody waiting, nobody
    /// holding them.
    pub(crate) fn forget_unused(&self, now: Instant) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        // A request in progress holds a reference, and nobody can get one while this lock is held.
        let unused =
            |pool: &mut Arc<OriginPool>| Arc::strong_count(pool) == 1 && pool.is_forgotten(now);
        let forgotten: Vec<_> = table.extract_if(unused).collect();
        // Their last word is for the observer, which may not be called under the lock.
        drop(table);
        drop(forgotten);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }
}

/// The `Host` header and the URI for the connector.
fn wire_names(origin: &Origin) -> Option<(HeaderValue, Uri)> {
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
