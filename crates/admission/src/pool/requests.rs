//! What a request can do: ask, look, go away.

use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::RefuseReason;

use crate::outcome::{Admission, Demand, Refusal, Ticket};
use crate::pool::{Grant, Lease, Pool, Returned};
use crate::queue::{Cancelled, Polled};

impl<E: Clone> Pool<E> {
    /// Asks for a lease.
    ///
    /// The one that became idle last is granted at once. Otherwise the request waits, if there is
    /// room in the queue. It is refused if the queue is full, if the pool backs off (with the error
    /// of the last open) or is draining, or if the request is over.
    #[inline]
    pub fn demand(&mut self, now: Instant, demand: Demand) -> Admission<Grant, E> {
        self.totals.demands += 1;
        if !demand.is_over(now) {
            // A connection has room only when nobody waits, so this passes nobody (A4).
            if let Some(lease) = self.check_out(now) {
                self.totals.granted += 1;
                return Admission::Granted(self.grant(lease, Duration::ZERO, 0));
            }
        }
        self.demand_queued(now, &demand)
    }

    fn demand_queued(&mut self, now: Instant, demand: &Demand) -> Admission<Grant, E> {
        self.queue.expire(now, &mut self.effects);
        self.back_off.tick(now);
        let ahead = self.queue.len();
        let mut error = None;
        let reason = if self.closed {
            RefuseReason::Closed
        } else if demand.is_over(now) {
            RefuseReason::TimedOut
        } else if self.back_off.is_waiting() {
            error = self.back_off.last_error();
            RefuseReason::BackingOff
        } else if !demand.retry && ahead >= self.waiting_room() {
            RefuseReason::Full
        } else {
            let timeout = self.config.acquire_timeout;
            let ticket = self.queue.push(now, demand, timeout);
            self.totals.queued(ahead + 1);
            self.cover(now);
            self.demand_seen(now);
            return Admission::Queued(ticket);
        };
        let refusal = Refusal::at_once(reason, ahead, error);
        self.totals.refused(refusal.reason);
        self.cover(now);
        Admission::Refused(refusal)
    }

    /// One for each place in which there may still be a connection of one's own, and
    /// `max_waiting` behind them.
    fn waiting_room(&self) -> usize {
        let own = self
            .config
            .max_open
            .get()
            .saturating_sub(self.occupied() - self.opening);
        self.config.max_waiting.saturating_add(own)
    }

    /// Takes the answer to a ticket, or remembers whom to wake.
    ///
    /// A lease that was reserved is preferred over an acquire timeout that has passed since; a
    /// request that is over itself is refused, and the lease goes on. If the connection was lost
    /// after it was reserved, the ticket waits again, first in the queue.
    pub fn poll(
        &mut self,
        ticket: Ticket,
        now: Instant,
        waker: &Waker,
    ) -> Poll<Result<Grant, Refusal<E>>> {
        self.revoke_if_lost(ticket, now);
        let polled = self.queue.poll(ticket, now, waker, &mut self.effects);
        self.cover(now);
        let refusal = match polled {
            Polled::Pending => return Poll::Pending,
            Polled::Granted(lease, waited, ahead) => {
                self.totals.granted_after(waited);
                return Poll::Ready(Ok(self.grant(lease, waited, ahead)));
            }
            Polled::TooLate(lease, refusal) => {
                self.lease_returned(lease.resource, now, Returned::Unused);
                refusal
            }
            Polled::Refused(refusal) => refusal,
        };
        self.totals.refused(refusal.reason);
        Poll::Ready(Err(refusal))
    }

    /// Whether a lease is reserved for a ticket. A [`poll`](Self::poll) that is pending although
    /// one was says that its connection was lost before it could be collected.
    pub fn is_reserved(&self, ticket: Ticket) -> bool {
        self.queue.reserved(ticket).is_some()
    }

    #[inline]
    fn grant(&mut self, lease: Lease, waited: Duration, ahead: usize) -> Grant {
        let Lease { resource, reused } = lease;
        self.counts.reused += u64::from(reused);
        Grant {
            resource,
            reused,
            waited,
            ahead,
        }
    }

    /// Puts a ticket whose reserved connection is not live any more back to the head of the queue.
    fn revoke_if_lost(&mut self, ticket: Ticket, now: Instant) {
        let Some(lease) = self.queue.reserved(ticket).copied() else {
            return;
        };
        if self.resources.keeps_reservations(lease.resource) {
            return;
        }
        self.queue.revoke(ticket, now);
        self.lease_returned(lease.resource, now, Returned::Unused);
        if self.closed {
            self.refuse_all(now, RefuseReason::Closed);
        } else if let Some(resource) = self.room(now) {
            // Where there is room nobody else waits.
            self.serve(resource, now);
        }
    }

    pub(super) fn refuse_all(&mut self, now: Instant, reason: RefuseReason) {
        let error = self.back_off.last_error();
        let error = || match reason {
            RefuseReason::OpenFailed => error.clone(),
            _ => None,
        };
        self.queue.refuse_all(now, reason, error, &mut self.effects);
    }

    /// When a ticket is to be polled again if nothing wakes it before. `None` once it is answered,
    /// and while its clock stands still (A7) and the request has no deadline of its own.
    pub fn deadline(&self, ticket: Ticket) -> Option<Instant> {
        self.queue.deadline(ticket)
    }

    /// The request behind a ticket went away. A lease reserved for it goes to the next, or idles.
    /// The open it caused goes on.
    pub fn cancel(&mut self, ticket: Ticket, now: Instant) {
        if self.leave(ticket, now) {
            self.totals.cancelled += 1;
        }
    }

    /// The owner gives the request behind a ticket up, for a reason that the pool knows nothing of.
    /// As [`cancel`](Self::cancel), but it counts as refused for that reason.
    pub fn give_up(&mut self, ticket: Ticket, now: Instant, reason: RefuseReason) {
        if self.leave(ticket, now) {
            self.totals.refused(reason);
        }
    }

    fn leave(&mut self, ticket: Ticket, now: Instant) -> bool {
        match self.queue.cancel(ticket, &mut self.effects) {
            Cancelled::Nothing => return false,
            Cancelled::Waiting => self.cover(now),
            Cancelled::Refused => {}
            Cancelled::Reserved(lease) => {
                self.lease_returned(lease.resource, now, Returned::Unused);
            }
        }
        true
    }
}
