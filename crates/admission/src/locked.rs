//! A machine that several tasks share.

use std::fmt;
use std::sync::PoisonError;

use crate::effects::Effects;
use crate::sync::{Mutex, MutexGuard};

/// A state machine that collects [`Effects`].
pub trait Machine {
    /// The error of its opens.
    type Error;

    /// Returns true if [`take_effects`](Self::take_effects) would return anything to do or to look
    /// at. There may be effects with nothing in them: they say that the machine has changed.
    fn has_effects(&self) -> bool;

    /// Takes what is to be done after unlocking.
    fn take_effects(&mut self) -> Effects<Self::Error>;
}

/// A [`Machine`] behind a mutex that never lets its effects happen under the lock.
///
/// The lock guards the machine's fields and nothing else. Under it there is no wake, no close, no
/// drop of a waker or an error; the one call into foreign code is `Waker::clone`, when a ticket is
/// polled by a task that it does not know yet.
pub struct Locked<M> {
    machine: Mutex<M>,
}

impl<M: Machine> Locked<M> {
    /// Puts a lock round a machine.
    pub fn new(machine: M) -> Self {
        Self {
            machine: Mutex::new(machine),
        }
    }

    /// Calls `f` under the lock and returns what is to be done or looked at now that it is open; `None`
    /// if nothing is, as on the way of a lease that was idle.
    ///
    /// `f` should only call the machine: other code under the lock can deadlock. If `f` panics the
    /// machine stays usable, as its own methods do not panic half-way.
    pub fn with<R>(&self, f: impl FnOnce(&mut M) -> R) -> (R, Option<Effects<M::Error>>) {
        let mut machine = self.lock();
        let result = f(&mut machine);
        // Taken under the lock, carried out after it by the caller.
        let effects = machine.has_effects().then(|| machine.take_effects());
        (result, effects)
    }

    /// Reads under the lock; for numbers.
    pub fn read<R>(&self, f: impl FnOnce(&M) -> R) -> R {
        f(&self.lock())
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, M> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M> fmt::Debug for Locked<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locked").finish_non_exhaustive()
    }
}
