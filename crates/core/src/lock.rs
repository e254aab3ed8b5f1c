//! Locks whose poison is passed over.
//!
//! A thread that panics while it holds a lock of std poisons it. No code of a user runs under a lock of
//! Tollgate, and what each guards is whole after every statement, so that the data behind a poisoned
//! lock is as good as any: to fail all further requests over it would make one panic many.
//!
//! ```
//! use std::sync::Mutex;
//! use tollgate_core::lock::lock;
//!
//! let count = Mutex::new(1);
//! *lock(&count) += 1;
//! assert_eq!(*lock(&count), 2);
//! ```

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Locks a mutex, poisoned or not.
#[inline]
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for reading, poisoned or not.
#[inline]
pub fn read<T: ?Sized>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for writing, poisoned or not.
#[inline]
pub fn write<T: ?Sized>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn a_poisoned_lock_is_locked_all_the_same() {
        let (mutex, rw) = (Mutex::new(1), RwLock::new(1));
        let panics = || {
            let _held = (lock(&mutex), write(&rw));
            panic!("under both locks");
        };
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        assert!(mutex.is_poisoned() && rw.is_poisoned());
        assert_eq!((*lock(&mutex), *read(&rw)), (1, 1));
        *write(&rw) += 1;
        assert_eq!(*read(&rw), 2);
    }
}
