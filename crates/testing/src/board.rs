//! State that tasks change and a test waits for.

use std::fmt::Debug;
use std::future::poll_fn;
use std::panic::Location;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard};
use std::task::Poll;

use tokio::sync::Notify;
use tollgate_core::lock::lock;

use crate::deadline::{DEADLINE, within_real};

/// A value under a lock and a bell that rings after each change.
#[derive(Debug, Default)]
pub(crate) struct Board<S> {
    // Guards the value alone: wakes happen after it is released, and callers run no test code
    // under it.
    state: Mutex<S>,
    changed: Notify,
}

impl<S> Board<S> {
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut S) -> R) -> R {
        let result = change(&mut self.locked());
        self.changed.notify_waiters();
        result
    }

    pub(crate) fn read<R>(&self, look: impl FnOnce(&S) -> R) -> R {
        look(&self.locked())
    }

    /// Waits without a deadline until `attempt` gives something, which counts as a change.
    pub(crate) async fn take<R>(&self, mut attempt: impl FnMut(&mut S) -> Option<R>) -> R {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Listen first, look second: a change between the two is then not missed.
            changed.as_mut().enable();
            let found = attempt(&mut self.locked());
            if let Some(found) = found {
                self.changed.notify_waiters();
                return found;
            }
            changed.await;
        }
    }

    /// Waits until `holds` is true of what `view` shows, for at most [`DEADLINE`] of real time.
    pub(crate) async fn until<V: Debug>(
        &self,
        caller: &'static Location<'static>,
        view: impl Fn(&S) -> V,
        mut holds: impl FnMut(&V) -> bool,
    ) -> V {
        let reached = async {
            loop {
                let mut changed = pin!(self.changed.notified());
                // As in `take`: a change between the look and the wait is not missed.
                changed.as_mut().enable();
                let seen = self.read(&view);
                if holds(&seen) {
                    return seen;
                }
                changed.await;
            }
        };
        let mut reached = pin!(reached);
        // Most conditions hold already; only the others are worth a thread.
        let now = poll_fn(|cx| Poll::Ready(reached.as_mut().poll(cx))).await;
        if let Poll::Ready(seen) = now {
            return seen;
        }
        match within_real(DEADLINE, reached).await {
            Some(seen) => seen,
            None => panic!(
                "not reached within {DEADLINE:?}, waited for at {caller}; now {:#?}",
                self.read(&view)
            ),
        }
    }

    fn locked(&self) -> MutexGuard<'_, S> {
        lock(&self.state)
    }
}
