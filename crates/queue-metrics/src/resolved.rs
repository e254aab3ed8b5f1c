//! What each origin was resolved to, found again in a few instructions.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use tollgate_core::Origin;
use tollgate_core::lock::{read, write};

use crate::guard::Entry;

/// Series by origin, up to a bound.
#[derive(Debug)]
pub(crate) struct Resolved<S>(RwLock<Maps<S>>);

#[derive(Debug)]
struct Maps<S> {
    /// By where the origin's text lies. The key of the other map keeps it there, so an address is
    /// one origin for as long as it is in here. A pool reports its events with one origin and clones
    /// of it, whose text is the same.
    by_address: HashMap<usize, Arc<Entry<S>>, foldhash::fast::RandomState>,
    by_origin: HashMap<Origin, Arc<Entry<S>>, foldhash::quality::RandomState>,
}

impl<S> Default for Resolved<S> {
    fn default() -> Self {
        Self(RwLock::new(Maps {
            by_address: HashMap::default(),
            by_origin: HashMap::default(),
        }))
    }
}

impl<S> Resolved<S> {
    /// Calls `with` on the origin's series, under the lock, so it may only touch atomics.
    #[inline]
    pub(crate) fn with<R>(&self, origin: &Origin, with: impl FnOnce(&S) -> R) -> Option<R> {
        let maps = read(&self.0);
        let entry = match maps.by_address.get(&address(origin)) {
            Some(entry) => entry,
            // Made from another text, it may still be equal to one that is known.
            None => maps.by_origin.get(origin)?,
        };
        Some(with(&entry.series))
    }

    pub(crate) fn remember(&self, origin: &Origin, entry: Arc<Entry<S>>, max: usize) {
        let mut maps = write(&self.0);
        // Not a second time for an equal origin from elsewhere: the map keeps its first key alone,
        // and the address of the other's text could become that of a different origin.
        if maps.by_origin.len() < max && !maps.by_origin.contains_key(origin) {
            maps.by_address.insert(address(origin), Arc::clone(&entry));
            maps.by_origin.insert(origin.clone(), entry);
        }
    }
}

fn address(origin: &Origin) -> usize {
    origin.host().as_ptr().addr()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::{Found, Guard};

    fn origin(text: &str) -> Origin {
        text.parse().unwrap()
    }

    fn entry(guard: &Guard<()>, name: &str) -> Arc<Entry<()>> {
        match guard.find_or_add(name, 80, 10) {
            Found::Own(entry) | Found::Other(entry) => entry,
        }
    }

    #[test]
    fn resolved_origin_is_found_by_clone_or_equal() {
        let (guard, resolved) = (Guard::default(), Resolved::default());
        let first = origin("http://a.test");
        resolved.remember(&first, entry(&guard, "a.test"), 10);
        for same in [first.clone(), origin("http://A.test:80")] {
            assert!(resolved.with(&same, |()| ()).is_some());
        }
        assert!(resolved.with(&origin("http://b.test"), |()| ()).is_none());
    }

    #[test]
    fn a_reused_address_is_not_the_old_origin() {
        let (guard, resolved) = (Guard::default(), Resolved::default());
        for i in 0..100 {
            // Each is dropped before the next is made, which may lie where it lay.
            let temporary = origin(&format!("http://{i:03}.test"));
            assert!(resolved.with(&temporary, |()| ()).is_none());
            resolved.remember(&temporary, entry(&guard, "x"), 50);
            resolved.remember(&origin(&temporary.to_string()), entry(&guard, "x"), 50);
        }
    }

    #[test]
    fn what_was_resolved_is_bounded() {
        let (guard, resolved) = (Guard::default(), Resolved::default());
        let origins: Vec<_> = (0..100)
            .map(|i| origin(&format!("http://{i}.test")))
            .collect();
        for origin in &origins {
            resolved.remember(origin, entry(&guard, "one"), 10);
        }
        assert!(resolved.with(&origins[9], |()| ()).is_some());
        assert!(resolved.with(&origins[10], |()| ()).is_none());
        let maps = resolved.0.read().unwrap();
        assert_eq!((maps.by_address.len(), maps.by_origin.len()), (10, 10));
    }
}
