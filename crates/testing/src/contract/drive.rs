//! Polling by hand: only when woken, and counting.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::sync::Notify;

use crate::deadline::within_real;

/// The real time that a wake-up may take before it counts as lost.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// The number of times that a future may be woken while nothing happens before it counts as
/// spinning.
const RESTLESS: usize = 64;

/// The number of times that other tasks get a turn before the state of things counts as settled.
const TURNS: usize = 64;

/// A future that is polled only when it was woken, by a waker that counts.
///
/// ```
/// # use tollgate_testing::{Gate, contract::Driven};
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let gate = Gate::new();
/// let mut wait = Driven::new(async { gate.wait().await });
/// assert!(wait.poll().is_pending());
/// assert_eq!(wait.wakes(), 0);
/// gate.open();
/// assert_eq!(wait.wakes(), 1);
/// wait.finish().await; // would panic if the wake-up had been lost
/// # }
/// ```
pub struct Driven<F> {
    future: Pin<Box<F>>,
    bell: Arc<Bell>,
    /// The number of times that it had been woken when it was polled last, by this waker.
    polled_at: Option<usize>,
}

impl<F: Future> fmt::Debug for Driven<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driven")
            .field("wakes", &self.wakes())
            .finish_non_exhaustive()
    }
}

impl<F: Future> Driven<F> {
    /// Nothing is polled yet.
    pub fn new(future: F) -> Self {
        Self {
            future: Box::pin(future),
            bell: Arc::new(Bell::new(None)),
            polled_at: None,
        }
    }

    /// Runs `hook` inside each wake-up, as a waker of a user might.
    pub fn waking(future: F, hook: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            future: Box::pin(future),
            bell: Arc::new(Bell::new(Some(Box::new(hook)))),
            polled_at: None,
        }
    }

    /// Polls once, woken or not.
    pub fn poll(&mut self) -> Poll<F::Output> {
        // Read before the poll: a wake-up in the middle of it asks for another one.
        self.polled_at = Some(self.wakes());
        let waker = Waker::from(Arc::clone(&self.bell));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// Returns the number of times that it was woken since it was made, or since
    /// [`new_waker`](Self::new_waker).
    pub fn wakes(&self) -> usize {
        self.bell.rung.load(Ordering::SeqCst)
    }

    /// Forgets the waker: the next poll brings another, as when a future moves to another task.
    pub fn new_waker(&mut self) {
        self.bell = Arc::new(Bell::new(None));
        self.polled_at = None;
    }

    /// Polls whenever it is woken, until it stands still; gives its output if it ends instead.
    ///
    /// # Panics
    ///
    /// If it does not come to rest: it wakes itself.
    pub async fn rest(&mut self) -> Poll<F::Output> {
        for _ in 0..RESTLESS {
            let before = self.wakes();
            if let Poll::Ready(output) = self.poll() {
                return Poll::Ready(output);
            }
            settle().await;
            if self.wakes() == before {
                return Poll::Pending;
            }
        }
        panic!("it spins: woken {RESTLESS} times while nothing happened");
    }

    /// Polls whenever it is woken, until it ends. If it was polled before, it must have been woken
    /// since, or be woken yet.
    ///
    /// # Panics
    ///
    /// If it is not woken for 3 s of real time: the wake-up was lost.
    pub async fn finish(mut self) -> F::Output {
        loop {
            while self.polled_at == Some(self.wakes()) {
                let woken = within_real(PATIENCE, self.bell.notify.notified()).await;
                assert!(
                    woken.is_some(),
                    "it was never woken: stuck, or the wake-up was lost"
                );
            }
            if let Poll::Ready(output) = self.poll() {
                return output;
            }
        }
    }
}

/// Lets all other tasks of this thread run until they stand still.
pub(super) async fn settle() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}

struct Bell {
    rung: AtomicUsize,
    notify: Notify,
    hook: Option<Box<dyn Fn() + Send + Sync>>,
}

impl Bell {
    fn new(hook: Option<Box<dyn Fn() + Send + Sync>>) -> Self {
        Self {
            rung: AtomicUsize::new(0),
            notify: Notify::new(),
            hook,
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Counted before it is announced: the driver compares the count when it wakes.
        self.rung.fetch_add(1, Ordering::SeqCst);
        if let Some(hook) = &self.hook {
            hook();
        }
        // Keeps a permit where the driver does not wait yet: the wake-up is not lost.
        self.notify.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use super::*;

    #[tokio::test]
    #[should_panic(expected = "it spins")]
    async fn a_future_that_wakes_itself_spins() {
        let mut spinning = Driven::new(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
        assert!(spinning.rest().await.is_pending());
    }

    #[tokio::test]
    async fn future_awaiting_a_task_comes_to_rest() {
        let mut join = Driven::new(tokio::spawn(async { 7 }));
        assert!(matches!(join.rest().await, Poll::Ready(Ok(7))));
        assert!(Driven::new(pending::<()>()).rest().await.is_pending());
    }
}
