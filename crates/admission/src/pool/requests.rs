//! What a request can do: ask, look, go away.

use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::RefuseReason;

use crate::outcome::{Admission, Demand, Departure, Late, Refusal, Ticket};
use crate::pool::{Grant, Lease, Pool, Returned};
use crate::queue::{Cancelled, Polled, Wait};

/// The longest that a connection is kept for an answer that no caller waits for.
const DUE_SOON: Duration = Duration::from_secs(1);

impl<E: Clone> Pool<E> {
    /// Asks for a lease.
    ///
    /// The one that became idle last is granted at once. Otherwise the request waits, if there is
    /// room in the queue. It is refused if the queue is full, if the pool backs off for longer than
    /// the request has (with the error of the last open) or is draining, or if the request is over.
    #[inline]
    pub fn demand(&mut self, now: Instant, demand: Demand) -> Admission<Grant, E> {
        self.totals.demands += 1;
        if !demand.is_over(now) {
            // A connection has room only without waiters, so this passes none of them (A4).
            if let Some(lease) = self.check_out(now) {
                self.totals.granted += 1;
                return Admission::Granted(self.grant(lease, Wait::NONE, 0));
            }
        }
        self.demand_queued(now, &demand)
    }

    fn demand_queued(&mut self, now: Instant, demand: &Demand) -> Admission<Grant, E> {
        // Before the limits are looked at: requests that are over make room for this one, and a
        // pause that is over is none.
        self.contend();
        self.queue.expire(now, &mut self.effects);
        self.back_off.tick(now);
        let ahead = self.queue.len();
        let mut error = None;
        let reason = if self.closed {
            RefuseReason::Closed
        } else if demand.is_over(now) {
            RefuseReason::QueueTimeout
        } else if self.is_paused_for(now, demand) {
            error = self.back_off.last_error();
            RefuseReason::BackingOff
        } else if let Some(late) = self.would_be_late(now, demand) {
            let refusal = Refusal::late_at_once(late, ahead);
            return self.refuse_at_once(now, refusal);
        } else if !demand.retry && ahead >= self.waiting_room() {
            RefuseReason::QueueFull
        } else {
            let timeout = self.config.acquire_timeout;
            let ticket = self.queue.push(now, demand, timeout);
            // Covered before its caller asks for the deadline: with an open on its way for it,
            // there is none.
            self.totals.queued(ahead + 1);
            self.cover(now);
            self.demand_seen(now);
            self.look_after_endings(now);
            return Admission::Queued(ticket);
        };
        self.refuse_at_once(now, Refusal::at_once(reason, ahead, error))
    }

    fn refuse_at_once(&mut self, now: Instant, refusal: Refusal<E>) -> Admission<Grant, E> {
        self.totals.refused(&refusal);
        // One that expired above may have had an open of its own, which is the next one's now.
        self.cover(now);
        Admission::Refused(refusal)
    }

    /// Returns true if a request is not to wait for the end of a back-off: its time is up before the
    /// probe, or as many wait for that as may.
    fn is_paused_for(&self, now: Instant, demand: &Demand) -> bool {
        let Some(until) = self.back_off.waits_until() else {
            return false;
        };
        let lapses = now.checked_add(self.config.acquire_timeout);
        let ends = [lapses, demand.hard_deadline, demand.ends_at];
        let ends = ends.into_iter().flatten().min();
        let full = self.queue.len() >= self.config.max_waiting;
        full || ends.is_some_and(|ends| ends <= until)
    }

    /// By how much a request would be late that waits for others' leases. One for which there is
    /// room to open a connection waits for no other, and has its chance.
    fn would_be_late(&self, now: Instant, demand: &Demand) -> Option<Late> {
        let late = self.queue.would_be_late(now, demand.ends_at)?;
        self.is_full().then_some(late)
    }

    /// One for each place in which there may still be a connection of one's own, and
    /// `max_waiting` behind them.
    fn waiting_room(&self) -> usize {
        let own = self.limit().saturating_sub(self.occupied() - self.opening);
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
        // Before the answer is taken: granted on a connection that died since, the request would be
        // lost.
        self.revoke_if_lost(ticket, now);
        self.return_if_lapsed(ticket, now);
        self.contend();
        // After `contend`: beside a pool with room a ticket is late only at its limit.
        let polled = self.queue.poll(ticket, now, waker, &mut self.effects);
        // Collected or refused, it may have been a covered one: an open is the next one's own now.
        self.cover(now);
        let mut refusal = match polled {
            Polled::Pending => return Poll::Pending,
            Polled::Granted(lease, wait, ahead) => {
                self.totals.granted_after(wait.total);
                return Poll::Ready(Ok(self.grant(lease, wait, ahead)));
            }
            Polled::TooLate(lease, refusal) => {
                // Over between reservation and poll: the lease goes to the next (A5).
                self.lease_returned(lease.resource, now, Returned::Unused);
                refusal
            }
            Polled::Refused(refusal) => refusal,
        };
        // With nothing ever open the local cause says more than the clock that ran out over it
        // (A14).
        if refusal.reason == RefuseReason::QueueTimeout
            && !self.resources.any_live()
            && let Some(error) = self.growth.blocked_by()
        {
            refusal.reason = RefuseReason::Connect;
            refusal.overdue = false;
            refusal.late = None;
            refusal.error = Some(error);
        }
        self.totals.refused(&refusal);
        Poll::Ready(Err(refusal))
    }

    /// Returns true if a lease is reserved for a ticket. A [`poll`](Self::poll) that is pending
    /// although one was means that its connection was lost before it could be collected.
    pub fn is_reserved(&self, ticket: Ticket) -> bool {
        self.queue.reserved(ticket).is_some()
    }

    #[inline]
    fn grant(&mut self, lease: Lease, wait: Wait, ahead: usize) -> Grant {
        let Lease { resource, reused } = lease;
        self.counts.reused += u64::from(reused);
        Grant {
            resource,
            reused,
            waited: wait.total,
            opening: wait.opening,
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
        self.serve_returned(now);
    }

    /// Puts a ticket whose reservation has lapsed back to the head of the queue: it is polled again.
    fn return_if_lapsed(&mut self, ticket: Ticket, now: Instant) {
        if self.queue.is_lapsed(ticket) {
            self.queue.revoke(ticket, now);
            self.serve_returned(now);
        }
    }

    /// Serves who has come back to the head of the queue, if that is possible.
    fn serve_returned(&mut self, now: Instant) {
        // It came back into the line of a pool that has refused all that waited: none would refuse
        // it later.
        if self.closed {
            self.refuse_all(now, RefuseReason::Closed);
        } else if let Some(resource) = self.room(now) {
            // Where there is room there are no other waiters.
            // And at once: room that is there already is followed by no event, and so by no wake.
            self.serve(resource, now);
        } else {
            self.look_after_endings(now);
        }
    }

    pub(super) fn refuse_all(&mut self, now: Instant, reason: RefuseReason) {
        let error = self.back_off.last_error();
        let error = || match reason {
            RefuseReason::Connect => error.clone(),
            _ => None,
        };
        self.queue.refuse_all(now, reason, error, &mut self.effects);
    }

    /// Returns the time at which a ticket is to be polled again if nothing wakes it before. `None`
    /// once it is answered, and while its clock stands still (A7) and the request has no deadline
    /// of its own.
    pub fn deadline(&self, ticket: Ticket) -> Option<Instant> {
        self.queue.deadline(ticket)
    }

    /// The request behind a ticket went away. A lease reserved for it goes to the next, or idles.
    /// The open it caused goes on.
    pub fn cancel(&mut self, ticket: Ticket, now: Instant) -> Departure {
        let (was_there, left) = self.leave(ticket, now);
        if was_there {
            self.totals.left(left.reason);
        }
        left
    }

    /// The owner gives the request behind a ticket up, for a reason that the pool knows nothing of.
    /// As [`cancel`](Self::cancel), but it counts as refused for that reason.
    pub fn give_up(&mut self, ticket: Ticket, now: Instant, reason: RefuseReason) -> Departure {
        let (was_there, left) = self.leave(ticket, now);
        if was_there {
            self.totals.refused_for(reason);
        }
        Departure { reason, ..left }
    }

    /// An exchange came to its end `held` after its grant; to be reported before its lease is returned.
    /// What requests with a limit can expect is judged by it.
    #[inline]
    pub fn used(&mut self, now: Instant, held: Duration) {
        self.totals.served += 1;
        self.queue.used(now, held);
    }

    /// The caller of an exchange went away `held` after its grant, for which it had `waited`; to be
    /// reported before the lease is returned.
    pub fn abandoned(&mut self, now: Instant, waited: Duration, held: Duration) {
        self.totals.left_in_flight(waited, held);
        let told = self.told();
        // A tick is owed for it: without further traffic nothing else turns the order back.
        self.queue.left_in_flight(now, waited, held);
        self.upkeep.at(self.queue.calm_at());
        self.note_if_other_than(told);
    }

    /// The time within which the answer to an exchange that is `held` so long is still worth waiting
    /// for, though its caller has gone: taking it in and dropping it keeps the connection. `None`
    /// where closing is better: neither do callers leave in numbers nor have they cost many connections,
    /// or the answer is not due soon.
    pub fn due_within(&mut self, now: Instant, held: Duration) -> Option<Duration> {
        if !self.queue.is_pressed(now) && !self.churn.is_low(now, self.cap()) {
            return None;
        }
        let long = self.queue.long_use(now)?;
        // What the peer works off for callers that left before delays it.
        let due = long.saturating_mul(2).checked_sub(held)?;
        (due <= DUE_SOON).then_some(due)
    }

    fn leave(&mut self, ticket: Ticket, now: Instant) -> (bool, Departure) {
        let told = self.told();
        let (cancelled, left) = self.queue.cancel(ticket, now, &mut self.effects);
        // Also where no other tick is due: what a caller that went away has taught is to be
        // forgotten.
        self.upkeep.at(self.queue.calm_at());
        self.note_if_other_than(told);
        match cancelled {
            Cancelled::Nothing => return (false, left),
            // It may have had an open of its own, which goes on (A3) and is the next one's now.
            Cancelled::Waiting => self.cover(now),
            Cancelled::Refused => {}
            Cancelled::Reserved(lease) => {
                self.lease_returned(lease.resource, now, Returned::Unused);
            }
        }
        (true, left)
    }
}
