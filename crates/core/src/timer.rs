//! A timer that moves with its future.

use std::future::{Future, poll_fn};
use std::panic::catch_unwind;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::runtime::{Handle, Id};
use tokio::time::{Instant, Sleep, sleep_until};

/// The timer of a wait whose future may be polled on one runtime first and on another later.
///
/// A [`Sleep`] of tokio stays with the runtime that it was made on: elsewhere it never completes if that
/// runtime is not driven, and panics once it has ended. This one is made again on the runtime that polls
/// it. Nothing is allocated before the first poll.
///
/// ```
/// # use std::{future::poll_fn, task::Poll, time::Duration};
/// # use tokio::{runtime::Builder, time::Instant};
/// # use tollgate_core::Timer;
/// let runtime = || Builder::new_current_thread().enable_time().build().unwrap();
/// let mut timer = Timer::new();
/// let at = Instant::now() + Duration::from_millis(5);
/// runtime().block_on(poll_fn(|cx| Poll::Ready(assert!(timer.poll_until(at, cx).is_pending()))));
/// // The first runtime has ended.
/// runtime().block_on(poll_fn(|cx| timer.poll_until(at, cx)));
/// ```
#[derive(Debug, Default)]
pub struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    runtime: Option<Id>,
}

impl Timer {
    /// Creates a timer that is not set.
    pub const fn new() -> Self {
        Self {
            sleep: None,
            runtime: None,
        }
    }

    /// Creates a timer of the current runtime.
    ///
    /// # Panics
    ///
    /// Outside of a runtime, and on one without timers.
    pub fn at(at: Instant) -> Self {
        Self {
            sleep: Some(Box::pin(sleep_until(at))),
            runtime: current(),
        }
    }

    /// As [`at`](Self::at); `None` where that panics: of a runtime without timers tokio tells in no other
    /// way.
    pub fn try_at(at: Instant) -> Option<Self> {
        // Asked for first: a panic that is caught has still been printed.
        current().and_then(|_| catch_unwind(|| Self::at(at)).ok())
    }

    /// Returns true if it is set, on the current runtime.
    pub fn is_here(&self) -> bool {
        self.sleep.is_some() && self.runtime.is_some() && self.runtime == current()
    }

    /// Returns the time it is set to.
    pub fn deadline(&self) -> Option<Instant> {
        self.sleep.as_ref().map(|sleep| sleep.deadline())
    }

    /// Completes at `at`, which may differ from poll to poll.
    ///
    /// # Panics
    ///
    /// At the first poll outside of a runtime or on one without timers, as [`sleep_until`] does; and
    /// outside of every runtime once that of the last poll has ended.
    pub fn poll_until(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let runtime = current();
        if runtime.is_some() && runtime != self.runtime && self.sleep.is_some() {
            match Self::try_at(at) {
                Some(moved) => *self = moved,
                // There is nowhere to make another: it stays where it was, as outside of every runtime.
                None => self.runtime = runtime,
            }
        }
        let sleep = self.sleep.get_or_insert_with(|| {
            self.runtime = runtime;
            Box::pin(sleep_until(at))
        });
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(cx)
    }

    /// Waits for a future, at most until `at`; returns `None` if that came first. As tokio's `timeout_at`,
    /// and it moves as a timer does. A future that is ready by then wins a tie.
    ///
    /// Cancel safe if the future is.
    pub async fn until<F: Future>(at: Instant, future: F) -> Option<F::Output> {
        let mut timer = Self::new();
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => timer.poll_until(at, cx).map(|()| None),
        })
        .await
    }
}

fn current() -> Option<Id> {
    Handle::try_current().ok().map(|handle| handle.id())
}
