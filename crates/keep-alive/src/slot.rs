//! Where a lease waits for hyper to finish with its connection.
//!
//! A lease whose bodies are over goes back at once if hyper's sender is ready again, which it is in
//! 99 of 100 cases. Else it is parked here, and the connection's driver collects it after the poll
//! that settles it. Nobody polls the sender for readiness: the driver would wake itself.
//!
//! Both sides look after they have written: the one that parks stores, raises the flag and looks
//! whether the connection settled meanwhile; the driver lets hyper run and then looks at the flag.
//! Whichever comes second sees what the other did, so a lease is collected once and never forgotten.

#[cfg(loom)]
use loom::sync::{Mutex, MutexGuard, atomic::AtomicBool, atomic::Ordering};
use std::sync::PoisonError;
#[cfg(not(loom))]
use std::sync::{Mutex, MutexGuard, atomic::AtomicBool, atomic::Ordering};

/// A place for one value that one side parks and either side collects.
#[derive(Debug)]
pub(crate) struct Slot<T> {
    occupied: AtomicBool,
    /// Guards the value alone; only moved in and out under it.
    value: Mutex<Option<T>>,
}

impl<T> Slot<T> {
    pub(crate) fn new() -> Self {
        Self {
            occupied: AtomicBool::new(false),
            value: Mutex::new(None),
        }
    }

    /// Parks `value`; gives it back at once if it `settled` in the meantime.
    pub(crate) fn park(&self, value: T, settled: impl FnOnce(&T) -> bool) -> Option<T> {
        *self.locked() = Some(value);
        self.occupied.store(true, Ordering::SeqCst);
        self.collect(settled)
    }

    /// Takes what is parked, if it `settled`.
    #[inline]
    pub(crate) fn collect(&self, settled: impl FnOnce(&T) -> bool) -> Option<T> {
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
        self.occupied.store(false, Ordering::SeqCst);
        value.take()
    }

    pub(crate) fn is_occupied(&self) -> bool {
        self.occupied.load(Ordering::SeqCst)
    }

    fn locked(&self) -> MutexGuard<'_, Option<T>> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
