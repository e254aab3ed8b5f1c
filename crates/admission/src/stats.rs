//! The gauges and counters of a pool and of a gate.

use std::time::Duration;

use tollgate_core::{QueueOrder, RefuseReason};

use crate::outcome::Refusal;

/// The outcomes of demands so far.
///
/// A demand is counted as answered when its caller learns the answer; one whose caller goes away
/// before counts as cancelled. So at every moment `demands = granted + refused + failed +
/// timed_out + cancelled +` the tickets that are still open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Calls of `demand`.
    pub demands: u64,
    /// Answered with a lease.
    pub granted: u64,
    /// Refused because the queue was full, the machine draining, or by the owner for a reason of its
    /// own.
    pub refused: u64,
    /// Refused because of a failed open, in the back-off after such, or because connections closed
    /// before they could be used.
    pub failed: u64,
    /// Refused because a deadline passed.
    pub timed_out: u64,
    /// Of those, refused early because their limit left less than a typical use (A13).
    pub late: u64,
    /// Gone before they were answered.
    pub cancelled: u64,
    /// Of those, gone after waiting for capacity: for a lease that another had, and not for an open
    /// of their own.
    pub abandoned: u64,
    /// Granted, and cancelled in flight after waiting longer for the lease than they then held it:
    /// work that the peer did for no caller.
    pub granted_late: u64,
    /// Exchanges that came to their end, as the owner reports them.
    pub served: u64,
    /// Times the order of the queue turned to newest first.
    pub turns: u64,
    /// Demands that had to wait.
    pub queued: u64,
    /// The most that ever waited at once.
    pub queued_peak: usize,
    /// The time that granted demands have waited, summed.
    pub waited: Duration,
}

impl Totals {
    pub(crate) fn queued(&mut self, length: usize) {
        self.queued += 1;
        self.queued_peak = self.queued_peak.max(length);
    }

    pub(crate) fn granted_after(&mut self, waited: Duration) {
        self.granted += 1;
        self.waited = self.waited.saturating_add(waited);
    }

    pub(crate) fn left_in_flight(&mut self, waited: Duration, held: Duration) {
        // One that did not wait was not late, however soon it was cancelled.
        self.granted_late += u64::from(waited > Duration::ZERO && waited >= held);
    }

    pub(crate) fn left(&mut self, reason: RefuseReason) {
        self.cancelled += 1;
        self.abandoned += u64::from(reason == RefuseReason::Abandoned);
    }

    pub(crate) fn refused<E>(&mut self, refusal: &Refusal<E>) {
        self.late += u64::from(refusal.late.is_some());
        self.refused_for(refusal.reason);
    }

    pub(crate) fn refused_for(&mut self, reason: RefuseReason) {
        match reason {
            RefuseReason::QueueTimeout => self.timed_out += 1,
            RefuseReason::Connect | RefuseReason::BackingOff | RefuseReason::ClosedBeforeSent => {
                self.failed += 1;
            }
            // Polled after its end: it has been counted.
            RefuseReason::Cancelled | RefuseReason::Abandoned => {}
            _ => self.refused += 1,
        }
    }

    /// The demands that were answered or went away.
    pub const fn settled(&self) -> u64 {
        self.granted + self.refused + self.failed + self.timed_out + self.cancelled
    }
}

/// The gauges and counters of a [`Gate`](crate::Gate).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GateStats {
    /// Places taken, counting those reserved for a waiter that has not looked yet.
    pub in_flight: usize,
    /// Waiting in the queue.
    pub queued: usize,
    /// Tickets that are neither collected nor cancelled: those queued, and those whose caller has
    /// not looked yet.
    pub unanswered: usize,
    /// The number that may be in flight.
    pub limit: usize,
    /// The order in which those that wait are served.
    pub order: QueueOrder,
    /// The outcomes so far.
    pub totals: Totals,
}

/// The gauges and counters of a [`Pool`](crate::Pool).
///
/// `opened = closed + open + closing + draining` at every moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Connections open within the limit, idle or active.
    pub open: usize,
    /// Open connections without a lease.
    pub idle: usize,
    /// Open connections with a lease.
    pub active: usize,
    /// Leases granted or reserved on connections that still exist.
    pub in_flight: usize,
    /// Opens in progress.
    pub connecting: usize,
    /// Waiting in the queue.
    pub queued: usize,
    /// Of those, waiting for an open of their own; the others wait for capacity, which others have.
    pub queued_for_open: usize,
    /// Tickets that are neither collected nor cancelled: those queued, and those whose caller has
    /// not looked yet.
    pub unanswered: usize,
    /// Connections of many leases that take no more and finish those they have; they may live
    /// beside their replacement.
    pub draining: usize,
    /// Connections that are to be closed and whose socket is not gone yet.
    pub closing: usize,
    /// The most that may be open, opening and closing at once.
    pub limit: usize,
    /// As many as the peer lets be open, if it lets fewer: opens beyond failed while these served.
    /// Tried again now and then.
    pub peer_limit: Option<usize>,
    /// The order in which those that wait are served.
    pub order: QueueOrder,
    /// The outcomes of demands.
    pub totals: Totals,
    /// Grants on a connection that had served before.
    pub reused: u64,
    /// Opens that were started.
    pub opens: u64,
    /// Opens that failed.
    pub open_failures: u64,
    /// Connections opened.
    pub opened: u64,
    /// Connections gone.
    pub closed: u64,
    /// Times the pool began to back off.
    pub back_offs: u64,
}
