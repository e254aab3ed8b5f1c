//! What is to be done once the lock is open.

use std::collections::VecDeque;
use std::fmt;
use std::task::Waker;

use tollgate_core::CloseReason;

use crate::pool::ResourceId;

/// The effects of a machine's last calls, for its owner to carry out *after* its lock was released:
/// connections to close, tasks to wake, and what must not be dropped under a lock. There are
/// effects, though maybe with nothing in them, whenever another number of connections
/// [drain](crate::Pool::draining), or of [streams](crate::Pool::streams) is there.
///
/// Dropping it wakes; [`run`](Self::run) closes first. A waker that panics does not keep the
/// others from being woken.
#[must_use = "connections wait to be closed"]
pub struct Effects<E> {
    wakes: Few<Waker>,
    closes: Few<(ResourceId, CloseReason)>,
    /// Dropping a waker can drop a task, and that anything: so not under the lock.
    spent: Few<Waker>,
    errors: Few<E>,
    /// True if there is anything in the others, or for the owner to look at: looked at in every
    /// call.
    any: bool,
}

impl<E> Effects<E> {
    /// Hands every connection that is to be closed to `close`, then wakes.
    ///
    /// Each is closed once, for the reason given. Its place stays taken until the owner reports
    /// [`Pool::resource_gone`](crate::Pool::resource_gone).
    pub fn run(mut self, mut close: impl FnMut(ResourceId, CloseReason)) {
        // Closed before any task is woken: it may look at its connection at once. Should `close`
        // panic, this value is dropped all the same, and that wakes.
        while let Some((resource, reason)) = self.next_close() {
            close(resource, reason);
        }
    }

    /// The next connection to close; `None` when all are taken.
    pub fn next_close(&mut self) -> Option<(ResourceId, CloseReason)> {
        self.closes.pop()
    }

    /// Returns the number of tasks that will be woken.
    pub fn wakes(&self) -> usize {
        self.wakes.len()
    }

    /// Returns true if the owner need not even look.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        !self.any
    }

    /// There is something for the owner to look at, and maybe nothing to do.
    pub(crate) const fn note(&mut self) {
        self.any = true;
    }

    pub(crate) fn wake(&mut self, waker: Option<Waker>) {
        // A ticket without a waker has not been polled since it was woken last: its next poll finds
        // the answer, and there is nothing to do after the unlock.
        self.any |= waker.is_some();
        self.wakes.extend(waker);
    }

    pub(crate) fn discard(&mut self, waker: Option<Waker>) {
        self.any |= waker.is_some();
        self.spent.extend(waker);
    }

    pub(crate) fn discard_error(&mut self, error: Option<E>) {
        // The owner's error type runs its own destructor, which may lock what this lock guards.
        self.any |= error.is_some();
        self.errors.extend(error);
    }

    pub(crate) fn close(&mut self, resource: ResourceId, reason: CloseReason) {
        self.any = true;
        self.closes.extend(Some((resource, reason)));
    }
}

impl<E> Default for Effects<E> {
    fn default() -> Self {
        Self {
            wakes: Few::new(),
            closes: Few::new(),
            spent: Few::new(),
            errors: Few::new(),
            any: false,
        }
    }
}

impl<E> Drop for Effects<E> {
    // The one place that wakes, and the caller has released the lock: a waker may poll its task
    // right here.
    fn drop(&mut self) {
        // By way of a guard: its destructor goes on where a waker panics.
        Waking(&mut self.wakes).wake_all();
    }
}

impl<E> fmt::Debug for Effects<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Effects")
            .field("wakes", &self.wakes.len())
            .field("closes", &self.closes.len())
            .finish_non_exhaustive()
    }
}

/// Goes on waking when one waker panics.
struct Waking<'a>(&'a mut Few<Waker>);

impl Waking<'_> {
    fn wake_all(&mut self) {
        while let Some(waker) = self.0.pop() {
            waker.wake();
        }
    }
}

impl Drop for Waking<'_> {
    fn drop(&mut self) {
        // Without the waker that panicked: it was taken off before it was called.
        self.wake_all();
    }
}

/// A queue that allocates only from its second value on.
struct Few<T> {
    first: Option<T>,
    rest: VecDeque<T>,
}

impl<T> Few<T> {
    const fn new() -> Self {
        Self {
            first: None,
            rest: VecDeque::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.first.is_none() && self.rest.is_empty()
    }

    fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    fn extend(&mut self, value: Option<T>) {
        // Into `first` only if all is empty: with that taken out and more behind it, a newcomer
        // would pass the rest.
        if value.is_none() {
        } else if self.is_empty() {
            self.first = value;
        } else {
            self.rest.extend(value);
        }
    }

    fn pop(&mut self) -> Option<T> {
        self.first.take().or_else(|| self.rest.pop_front())
    }
}
