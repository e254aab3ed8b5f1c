//! The future of one connect.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tollgate_core::{BoxError, ConnectTimedOut, Phase, PhaseSlot, Timer, phase};

use crate::layer::Limits;

/// A time by which an [`Instant`] can be moved without fear of overflow; no wait is as long.
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
        timer: Timer,
        clock: Option<Clock>,
        limits: Limits,
    }
}

impl<F> ConnectTimeoutFuture<F> {
    pub(crate) const fn new(inner: F, limits: Limits) -> Self {
        Self {
            inner,
            timer: Timer::new(),
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
        let clock = this.clock.get_or_insert_with(|| {
            // At the first poll and outside its own scope: those of the layers above are open only
            // then.
            phase::begin_budget(this.limits.total);
            Clock::start(this.limits)
        });
        // Before the poll: a dialler below shares out what is left among its addresses.
        clock.slot.set_left(clock.left(this.limits));

        // The connector comes before the clock: a ready answer wins a tie.
        if let Poll::Ready(result) = phase::scope(&clock.slot, || this.inner.poll(cx)) {
            if result.is_ok() {
                // On success alone: after an error nothing is left to spend it on.
                phase::leave_remaining(clock.left(this.limits));
            }
            return Poll::Ready(result.map_err(Into::into));
        }

        // After the poll, in which the phase may have changed: a limit that has just begun would be
        // missed until the next wake.
        let due = clock.due(this.limits);
        ready!(this.timer.poll_until(due, cx));
        Poll::Ready(Err(clock.timed_out(this.limits).into()))
    }
}

/// The phase of one connect, and its start.
#[derive(Debug)]
struct Clock {
    slot: PhaseSlot,
    started: Instant,
    phase: Phase,
    entered: Instant,
}

impl Clock {
    fn start(limits: &Limits) -> Self {
        let now = Instant::now();
        // Nested: phases and attempts reach a budget further out as well, and either may end first.
        let slot = PhaseSlot::nested();
        for phase in [Phase::Dns, Phase::Tcp, Phase::Tls] {
            slot.set_limit(phase, limits.of(phase));
        }
        Self {
            slot,
            started: now,
            phase: Phase::Connect,
            entered: now,
        }
    }

    /// The rest of the budget.
    fn left(&self, limits: &Limits) -> Duration {
        limits.total.saturating_sub(self.started.elapsed())
    }

    /// Returns the deadline, as the phase is now.
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
        ConnectTimedOut::new(self.phase, limits.total, elapsed)
            .with_phase_limit(of_phase)
            .with_attempts(self.slot.attempts())
    }
}
