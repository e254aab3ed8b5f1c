//! A flag that is up for as long as a task runs.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};

/// True while its task runs, and false again whether the task ended or its runtime did.
#[derive(Debug, Default)]
pub(crate) struct TaskFlag(Arc<AtomicBool>);

impl TaskFlag {
    #[inline]
    pub(crate) fn is_up(&self) -> bool {
        self.0.load(Acquire)
    }

    /// Raises it for a task, which has to hold what this returns; `None` if it is up already.
    ///
    /// It goes before the spawn: a runtime that has ended drops its task at once, and the flag falls.
    pub(crate) fn raise(&self) -> Option<Raised> {
        (!self.0.swap(true, AcqRel)).then(|| Raised(Arc::clone(&self.0)))
    }

    /// Raises it where there is no work for a task, ever.
    pub(crate) fn raise_for_good(&self) {
        self.0.store(true, Release);
    }
}

/// Lowers the flag of a task when dropped.
#[must_use = "dropped, it lowers the flag"]
pub(crate) struct Raised(Arc<AtomicBool>);

impl Drop for Raised {
    fn drop(&mut self) {
        self.0.store(false, Release);
    }
}
