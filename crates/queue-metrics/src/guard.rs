//! The label guard: at most so many series by name, the rest in one that is called `_other`.

use std::hash::BuildHasher;
use std::sync::{Arc, OnceLock, RwLock, RwLockReadGuard};

use foldhash::quality::RandomState;
use tollgate_core::lock::{read, write};

use crate::sketch::Sketch;

/// The address of what did not fit.
pub(crate) const OTHER: &str = "_other";

type Map<K, V> = std::collections::HashMap<K, V, RandomState>;

/// Series by name and port.
#[derive(Debug)]
pub(crate) struct Guard<S> {
    /// Guards the map alone; a series is made and used outside of it.
    known: RwLock<Known<S>>,
    other: OnceLock<Arc<Entry<S>>>,
    overflowed: OnceLock<Sketch>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Known<S> {
    by_name: Map<Box<str>, Vec<Arc<Entry<S>>>>,
    // Of entries, not of names: a name may have several ports.
    len: usize,
}

/// A series and the labels that it goes by.
#[derive(Debug)]
pub(crate) struct Entry<S> {
    pub(crate) name: Arc<str>,
    pub(crate) port: u16,
    pub(crate) series: S,
}

/// The result of a search.
pub(crate) enum Found<S> {
    Own(Arc<Entry<S>>),
    Other(Arc<Entry<S>>),
}

impl<S> Default for Guard<S> {
    fn default() -> Self {
        Self {
            known: RwLock::new(Known {
                by_name: Map::default(),
                len: 0,
            }),
            other: OnceLock::new(),
            overflowed: OnceLock::new(),
            hasher: RandomState::default(),
        }
    }
}

impl<S: Default> Guard<S> {
    /// The series of a name and port, made if there is room for it among `max`.
    pub(crate) fn find_or_add(&self, name: &str, port: u16, max: usize) -> Found<S> {
        let known = self.known();
        if let Some(entry) = known.get(name, port) {
            return Found::Own(entry);
        }
        let full = known.len >= max;
        // Open before a series is made, and before it is locked for writing.
        drop(known);
        // Without an entry of its own, so that an origin beyond the maximum costs no allocation.
        if full {
            return self.overflow(name, port, max);
        }
        let fresh = Entry::new(name, port);
        match self.add(fresh, max) {
            Some(entry) => Found::Own(entry),
            None => self.overflow(name, port, max),
        }
    }

    fn add(&self, fresh: Arc<Entry<S>>, max: usize) -> Option<Arc<Entry<S>>> {
        let mut known = write(&self.known);
        // Looked for once more: another thread may have added it meanwhile, and each would count
        // apart.
        if let Some(entry) = known.get(&fresh.name, fresh.port) {
            return Some(entry);
        }
        if known.len >= max {
            return None;
        }
        known.len += 1;
        let ports = known.by_name.entry(fresh.name.as_ref().into()).or_default();
        ports.push(Arc::clone(&fresh));
        Some(fresh)
    }

    fn overflow(&self, name: &str, port: u16, max: usize) -> Found<S> {
        // Warned of by the first that does not fit: every event of the others would repeat it.
        let sketch = self.overflowed.get_or_init(|| {
            tracing::warn!(
                target: "tollgate::metrics",
                max, first = name,
                "more origins or names than metrics may tell apart: the rest share {OTHER}",
            );
            Sketch::default()
        });
        sketch.insert(self.hasher.hash_one((name, port)));
        let other = self.other.get_or_init(|| Entry::new(OTHER, 0));
        Found::Other(Arc::clone(other))
    }
}

impl<S> Guard<S> {
    /// The series of a name and port that has one of its own.
    pub(crate) fn find(&self, name: &str, port: u16) -> Option<Arc<Entry<S>>> {
        self.known().get(name, port)
    }

    /// Every series in the order of names, `_other` last.
    pub(crate) fn all(&self) -> Vec<Arc<Entry<S>>> {
        let known = self.known();
        let mut all: Vec<_> = known.by_name.values().flatten().cloned().collect();
        // Before the sort: the event of a new origin waits for this lock to write.
        drop(known);
        all.sort_unstable_by(|a, b| (&a.name, a.port).cmp(&(&b.name, b.port)));
        all.extend(self.other.get().cloned());
        all
    }

    /// Returns the number of different names and ports that share `_other`.
    pub(crate) fn overflowed(&self) -> u64 {
        self.overflowed.get().map_or(0, Sketch::estimate)
    }

    fn known(&self) -> RwLockReadGuard<'_, Known<S>> {
        read(&self.known)
    }
}

impl<S> Known<S> {
    fn get(&self, name: &str, port: u16) -> Option<Arc<Entry<S>>> {
        let ports = self.by_name.get(name)?;
        ports.iter().find(|entry| entry.port == port).cloned()
    }
}

impl<S: Default> Entry<S> {
    fn new(name: &str, port: u16) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            port,
            series: S::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    fn named(found: Found<AtomicU64>) -> String {
        match found {
            Found::Own(entry) | Found::Other(entry) => format!("{}:{}", entry.name, entry.port),
        }
    }

    #[test]
    fn names_beyond_the_limit_overflow_into_one_series() {
        let guard = Guard::<AtomicU64>::default();
        for round in 0..2 {
            for i in 0..10_000 {
                let found = named(guard.find_or_add(&format!("{i}.test"), 80, 100));
                assert_eq!(found == "_other:0", i >= 100, "round {round}: {found}");
            }
        }
        assert_eq!(guard.all().len(), 101);
        assert_eq!(&*guard.all()[100].name, OTHER);
        let overflowed = guard.overflowed();
        assert!((9_700..=10_100).contains(&overflowed), "{overflowed}");
    }

    #[test]
    fn ports_of_one_name_are_told_apart() {
        let guard = Guard::<AtomicU64>::default();
        assert_eq!(named(guard.find_or_add("a", 1, 2)), "a:1");
        assert_eq!(named(guard.find_or_add("a", 2, 2)), "a:2");
        assert_eq!(named(guard.find_or_add("a", 3, 2)), "_other:0");
        assert_eq!(named(guard.find_or_add("a", 1, 2)), "a:1");
        assert_eq!(guard.overflowed(), 1);
    }
}
