//! Waiting for a lease.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until};
use tollgate_admission::Ticket;
use tollgate_core::Timings;

use crate::error::{KeepAliveError, KeepAliveErrorKind};
use crate::lease::Lease;
use crate::origin_pool::OriginPool;

pin_project_lite::pin_project! {
    /// A place in the queue of one origin. Dropping it leaves the queue; a lease that was already
    /// handed over goes to the next.
    pub(crate) struct Waiting {
        pool: Arc<OriginPool>,
        ticket: Option<Ticket>,
        since: Instant,
        // How many connections closed that were to serve it.
        lost: u32,
        #[pin]
        sleep: Option<Sleep>,
    }

    impl PinnedDrop for Waiting {
        fn drop(this: Pin<&mut Self>) {
            if let Some(ticket) = this.ticket {
                this.pool.cancel(ticket, this.since);
            }
        }
    }
}

impl Waiting {
    pub(crate) fn new(pool: Arc<OriginPool>, ticket: Ticket) -> Self {
        Self {
            pool,
            ticket: Some(ticket),
            since: Instant::now(),
            lost: 0,
            sleep: None,
        }
    }
}

impl Future for Waiting {
    type Output = Result<(Lease, Duration), KeepAliveError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let ticket = this.ticket.expect("a finished wait is not polled again");
        if Handle::try_current().is_err() {
            let origin = this.pool.origin.clone();
            return Poll::Ready(Err(KeepAliveError::new(
                KeepAliveErrorKind::NoRuntime,
                Some(origin),
            )));
        }
        loop {
            let deadline = match this.pool.poll_ticket(ticket, cx) {
                Turn::Come(outcome) => {
                    *this.ticket = None;
                    this.pool.shared.demand_changed(this.pool);
                    return Poll::Ready(outcome);
                }
                Turn::At(deadline) => deadline,
                Turn::Lost(deadline) => {
                    *this.lost += 1;
                    if *this.lost > this.pool.shared.config.retry.unsent {
                        // Else a peer that accepts and closes would be dialled for ever.
                        return Poll::Ready(Err(closed_before_sent(
                            this.pool,
                            *this.lost,
                            *this.since,
                        )));
                    }
                    deadline
                }
            };
            // Whoever waits sees to it that there is something to wait for.
            crate::dial::start(this.pool);
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

#[cold]
fn closed_before_sent(pool: &OriginPool, attempts: u32, since: Instant) -> KeepAliveError {
    let mut timings = Timings::default();
    timings.queued = since.elapsed();
    timings.attempts = attempts;
    let kind = KeepAliveErrorKind::ClosedBeforeSent;
    KeepAliveError::new(kind, Some(pool.origin.clone())).with_timings(timings)
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
