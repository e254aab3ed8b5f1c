//! Waiting for a lease.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until};
use tollgate_admission::Ticket;
use tollgate_core::{RefuseReason, Timings};

use crate::error::{KeepAliveError, KeepAliveErrorKind};
use crate::lease::Lease;
use crate::origin_pool::OriginPool;

/// A place in the queue of one origin, from the demand on: a call may be dropped before its first
/// poll. Dropping it leaves the queue; a lease that was already handed over goes to the next.
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

    /// Leaves the queue for another reason than that the caller did; the error that says so.
    #[cold]
    fn give_up(&mut self, reason: RefuseReason, attempts: u32) -> KeepAliveError {
        if let Some(ticket) = self.ticket.take() {
            self.pool.give_up(ticket, self.since, reason);
        }
        let kind = match reason {
            RefuseReason::NoRuntime => KeepAliveErrorKind::NoRuntime,
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
            self.pool.cancel(ticket, self.since);
        }
    }
}

pin_project_lite::pin_project! {
    /// The wait for a lease.
    pub(crate) struct Waiting {
        place: InQueue,
        // How many connections closed that were to serve it, and how many before this wait.
        lost: u32,
        lost_before: u32,
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl Waiting {
    pub(crate) const fn new(place: InQueue, lost_before: u32) -> Self {
        Self {
            place,
            lost: 0,
            lost_before,
            sleep: None,
        }
    }
}

impl Future for Waiting {
    type Output = Result<(Lease, Duration), KeepAliveError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let place = this.place;
        let pool = place.pool.clone();
        let ticket = place.ticket.expect("a finished wait is not polled again");
        if Handle::try_current().is_err() {
            return Poll::Ready(Err(place.give_up(RefuseReason::NoRuntime, 0)));
        }
        loop {
            let deadline = match pool.poll_ticket(ticket, cx) {
                Turn::Come(outcome) => {
                    place.ticket = None;
                    pool.shared.demand_changed(&pool);
                    return Poll::Ready(outcome);
                }
                Turn::At(deadline) => deadline,
                Turn::Lost(deadline) => {
                    *this.lost += 1;
                    if *this.lost + *this.lost_before > pool.shared.config.retry.unsent {
                        // Else a peer that accepts and closes would be dialled for ever.
                        return Poll::Ready(Err(
                            place.give_up(RefuseReason::ClosedBeforeSent, *this.lost)
                        ));
                    }
                    deadline
                }
            };
            // Whoever waits sees to it that there is something to wait for.
            crate::dial::start(&pool);
            let Some(deadline) = deadline else {
                return Poll::Pending;
            };
            let set_for = this
                .sleep
                .as_ref()
                .as_pin_ref()
                .map(|sleep| sleep.deadline());
            if set_for != Some(deadline) {
                this.sleep.set(Some(sleep_until(deadline)));
            }
            if let Some(sleep) = this.sleep.as_mut().as_pin_mut() {
                ready!(sleep.poll(cx));
            }
        }
    }
}

/// What a look at a ticket showed.
pub(crate) enum Turn {
    /// It is over, one way or the other, after this long.
    Come(Result<(Lease, Duration), KeepAliveError>),
    /// It goes on; look again at this time, if there is one.
    At(Option<Instant>),
    /// It goes on, but the connection that was to serve it closed before it could be collected.
    Lost(Option<Instant>),
}
