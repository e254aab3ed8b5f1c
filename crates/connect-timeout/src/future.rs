//! The future of one connect.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tollgate_core::{BoxError, Phase, PhaseSlot, phase};

use crate::error::ConnectTimedOut;
use crate::layer::Limits;

/// What an [`Instant`] can be moved by without fear of overflow; nobody waits that long.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

pin_project! {
    /// One connect within its budget.
    ///
    /// It fails with [`ConnectTimedOut`] when the budget or the limit of a phase is used up, else
    /// with the connector's own error. Dropping it drops the connector's future and the timer.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ConnectTimeoutFuture<F> {
        #[pin]
        inner: F,
        // Boxed at the first wait: hyper-util's client takes only connectors whose futures are
        // `Unpin`, and this one is if the connector's is.
        sleep: Option<Pin<Box<Sleep>>>,
        clock: Option<Clock>,
        limits: Limits,
    }
}

impl<F> ConnectTimeoutFuture<F> {
    pub(crate) const fn new(inner: F, limits: Limits) -> Self {
        Self {
            inner,
            sleep: None,
            clock: None,
            limits,
        }
    }
}

impl<F, T, E> Future for ConnectTimeoutFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let clock = this.clock.get_or_insert_with(Clock::start);

        // The connector comes before the clock: a ready answer wins a tie.
        if let Poll::Ready(result) = phase::scope(&clock.slot, || this.inner.poll(cx)) {
            if result.is_ok() {
                phase::leave_remaining(this.limits.total.saturating_sub(clock.started.elapsed()));
            }
            return Poll::Ready(result.map_err(Into::into));
        }

        let due = clock.due(this.limits);
        let sleep = this.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if sleep.deadline() != due {
            sleep.as_mut().reset(due);
        }
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(Err(clock.timed_out(this.limits).into()))
    }
}

/// Where one connect stands, and since when.
#[derive(Debug)]
struct Clock {
    slot: PhaseSlot,
    started: Instant,
    phase: Phase,
    entered: Instant,
}

impl Clock {
    fn start() -> Self {
        let now = Instant::now();
        Self {
            slot: PhaseSlot::nested(),
            started: now,
            phase: Phase::Connect,
            entered: now,
        }
    }

    /// When the time is up, as the phase is now.
    fn due(&mut self, limits: &Limits) -> Instant {
        let phase = self.slot.phase();
        if phase != self.phase {
            self.phase = phase;
            self.entered = Instant::now();
        }
        let total = self.started + limits.total.min(FOREVER);
        match limits.of(phase) {
            Some(limit) => total.min(self.entered + limit.min(FOREVER)),
            None => total,
        }
    }

    fn timed_out(&self, limits: &Limits) -> ConnectTimedOut {
        let elapsed = self.started.elapsed();
        // Where both are used up at once, it is the budget that is reported.
        let of_phase = limits.of(self.phase).filter(|_| elapsed < limits.total);
        ConnectTimedOut::new(
            self.phase,
            of_phase,
            limits.total,
            elapsed,
            self.slot.attempts().into(),
        )
    }
}
