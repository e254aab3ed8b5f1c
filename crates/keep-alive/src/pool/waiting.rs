//! Waiting for a lease.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;
use tollgate_admission::Ticket;
use tollgate_core::{RefuseReason, Timer, Timings};

use crate::error::{KeepAliveError, KeepAliveErrorKind};
use crate::pool::inner::DialFailure;
use crate::pool::lease::Lease;
use crate::pool::origin_pool::OriginPool;
use crate::pool::shared::later;

/// A place in the queue of one origin, from the demand on: a call may be dropped before its first
/// poll. Dropping it cancels the ticket; a lease that was already handed over goes to the next.
pub(crate) struct InQueue {
    pool: Arc<OriginPool>,
    ticket: Option<Ticket>,
    since: Instant,
}

impl InQueue {
    pub(crate) const fn new(pool: Arc<OriginPool>, ticket: Ticket, since: Instant) -> Self {
        Self {
            pool,
            ticket: Some(ticket),
            since,
        }
    }

    /// Takes the ticket out of the queue, and returns the error with the reason.
    #[cold]
    fn give_up(&mut self, reason: RefuseReason, attempts: u32) -> KeepAliveError {
        // Taken, or the drop would cancel it as well.
        if let Some(ticket) = self.ticket.take() {
            self.pool.give_up(ticket, reason);
        }
        let kind = match reason {
            RefuseReason::NoRuntime => KeepAliveErrorKind::NoRuntime,
            RefuseReason::QueueTimeout => KeepAliveErrorKind::QueueTimeout,
            RefuseReason::Connect => KeepAliveErrorKind::Connect,
            _ => KeepAliveErrorKind::ClosedBeforeSent,
        };
        let mut timings = Timings::default();
        timings.queued = self.since.elapsed();
        timings.attempts = attempts;
        KeepAliveError::new(kind, Some(self.pool.origin.clone())).with_timings(timings)
    }
}

impl Drop for InQueue {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.pool.cancel(ticket);
        }
    }
}

/// The wait for a lease.
pub(crate) struct Waiting {
    place: InQueue,
    /// Connections that closed that were to serve it, and those before this wait.
    lost: u32,
    lost_before: u32,
    timer: Timer,
}

impl Waiting {
    pub(crate) const fn new(place: InQueue, lost_before: u32) -> Self {
        Self {
            place,
            lost: 0,
            lost_before,
            timer: Timer::new(),
        }
    }
}

impl InQueue {
    /// Returns the time at which a request that is not served is to look again, on its own timer.
    ///
    /// Its clock stands still for dials, wherever they are; here it goes on unless one of them is on
    /// this runtime, which is driven. And every wait ends: no dial takes longer than the time for one.
    fn look_again_at(&self, pause: Pause, now: Instant) -> Look {
        let shared = &self.pool.shared;
        let acquire = shared.config.acquire_timeout(&self.pool.origin);
        let own_end = later(self.since, acquire);
        let end = if pause.own {
            later(own_end, self.pool.connect_timeout())
        } else {
            own_end
        };
        match pause.deadline {
            Some(deadline) => Look::At(deadline),
            None if end <= now => Look::GiveUp,
            None => Look::At(if now < own_end { own_end } else { end }),
        }
    }
}

enum Look {
    At(Instant),
    GiveUp,
}

impl Future for Waiting {
    type Output = Result<(Lease, Duration), KeepAliveError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let place = &mut this.place;
        let pool = place.pool.clone();
        let ticket = place.ticket.expect("a finished wait is not polled again");
        let Ok(runtime) = Handle::try_current() else {
            return Poll::Ready(Err(place.give_up(RefuseReason::NoRuntime, 0)));
        };
        // Also of a call that has moved.
        if !this.timer.is_here() {
            // Before anything is dialled on a runtime that cannot time it. Its time is over already: the
            // right one is set below, once the engine was asked.
            let Some(timer) = Timer::try_at(place.since) else {
                return Poll::Ready(Err(place.give_up(RefuseReason::NoRuntime, 0)));
            };
            this.timer = timer;
            // What is due must not depend on another runtime, which may not be driven.
            pool.shared.clock.ensure(&pool.shared);
        }
        loop {
            let pause = match pool.poll_ticket(ticket, &runtime, cx) {
                Turn::Come(outcome) => {
                    // Spent: with it the drop would report a wait that has ended as cancelled.
                    place.ticket = None;
                    return Poll::Ready(outcome);
                }
                Turn::At(pause) => pause,
                Turn::Lost(pause, refused) => {
                    this.lost += 1;
                    if let Some(refused) = refused {
                        let told = place.give_up(RefuseReason::Connect, this.lost);
                        return Poll::Ready(Err(told.with_failed_dial(refused)));
                    }
                    let lost = this.lost + this.lost_before;
                    if lost > pool.shared.config.retry.unsent || !pool.takes_retry() {
                        // Else a peer that accepts and closes would be dialled for ever.
                        return Poll::Ready(Err(
                            place.give_up(RefuseReason::ClosedBeforeSent, this.lost)
                        ));
                    }
                    pause
                }
            };
            let at = match place.look_again_at(pause, Instant::now()) {
                Look::At(at) => at,
                Look::GiveUp => {
                    return Poll::Ready(Err(place.give_up(RefuseReason::QueueTimeout, 0)));
                }
            };
            // At its time the engine is asked once more: a lease that was reserved in the same
            // moment is preferred.
            ready!(this.timer.poll_until(at, cx));
        }
    }
}

/// The state of a ticket at a poll.
pub(crate) enum Turn {
    /// It is over, one way or the other, after this long.
    Come(Result<(Lease, Duration), KeepAliveError>),
    /// It goes on.
    At(Pause),
    /// It goes on, but the connection that was to serve it closed before it could be collected, maybe
    /// since its peer refused it in words of its own.
    Lost(Pause, Option<DialFailure>),
}

/// A request that goes on waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pause {
    /// The time at which its time is up; `None` while its clock stands still.
    pub(crate) deadline: Option<Instant>,
    /// A dial is in progress on its own runtime.
    pub(crate) own: bool,
}
