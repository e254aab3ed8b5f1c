//! Where a lease waits for the exchange on its connection to be over.

use std::fmt;
use std::sync::PoisonError;
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering};

use crate::sync::{Mutex, MutexGuard};

/// A place for one value, parked by one side and collected by either.
///
/// For a lease whose caller is done while its connection is not: the caller parks it, and the task
/// that drives the connection collects it after the turn that settles the exchange. Neither waits
/// for the other, and no task is woken.
///
/// Both sides look after they have written: the one that parks stores the value, raises a flag and
/// looks whether the exchange was settled meanwhile; the driver settles the exchange and then looks
/// at the flag. Whoever comes second sees what the other did, so a value is collected once and never
/// forgotten. What `settled` reads must be sequentially consistent for that, as the flag is.
///
/// ```
/// use tollgate_admission::Slot;
///
/// let slot = Slot::new();
/// assert_eq!(slot.park("lease", |_| false), None, "the exchange goes on");
/// assert_eq!(slot.collect(|_| true), Some("lease"));
/// assert_eq!(slot.collect(|_| true), None);
/// ```
pub struct Slot<T> {
    occupied: AtomicBool,
    /// Guards the value alone; only moved in and out under it, and `settled` asked.
    value: Mutex<Option<T>>,
}

impl<T> Slot<T> {
    /// An empty place.
    pub fn new() -> Self {
        Self {
            occupied: AtomicBool::new(false),
            value: Mutex::new(None),
        }
    }

    /// Parks `value`; gives it back at once if it `settled` in the meantime.
    pub fn park(&self, value: T, settled: impl FnOnce(&T) -> bool) -> Option<T> {
        let before = self.locked().replace(value);
        debug_assert!(before.is_none(), "one value at a time");
        // Value, flag, look: a driver that settles before the flag is up is met by the look, and
        // the lease does not stay for ever.
        self.set(true);
        self.collect(settled)
    }

    /// Takes what is parked, if it `settled`.
    #[inline]
    pub fn collect(&self, settled: impl FnOnce(&T) -> bool) -> Option<T> {
        // The flag alone where nothing is parked: the driver asks after each of its polls, and
        // seldom has one.
        if self.is_occupied() {
            self.collect_occupied(settled)
        } else {
            None
        }
    }

    #[cold]
    fn collect_occupied(&self, settled: impl FnOnce(&T) -> bool) -> Option<T> {
        let mut value = self.locked();
        if !value.as_ref().is_some_and(settled) {
            return None;
        }
        // Under the lock: lowered after it, it could hide a value that was parked since.
        self.set(false);
        value.take()
    }

    /// Returns true if a value is parked.
    #[inline]
    #[cfg(not(loom))]
    pub fn is_occupied(&self) -> bool {
        self.occupied.load(Ordering::SeqCst)
    }

    /// Returns true if a value is parked.
    ///
    /// loom takes a sequentially consistent load for one that may see an old value; a
    /// read-modify-write sees the last.
    #[cfg(loom)]
    pub fn is_occupied(&self) -> bool {
        self.occupied.fetch_or(false, Ordering::SeqCst)
    }

    /// A read-modify-write for loom's sake, see above; where it runs it costs what a store does.
    fn set(&self, occupied: bool) {
        self.occupied.swap(occupied, Ordering::SeqCst);
    }

    fn locked(&self) -> MutexGuard<'_, Option<T>> {
        // `settled` may panic under the lock, before anything has changed: what is parked is still
        // to be collected.
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Slot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("occupied", &self.is_occupied())
            .finish_non_exhaustive()
    }
}
