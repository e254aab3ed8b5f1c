//! Numbers.

use std::time::Duration;

use tollgate_core::RefuseReason;

/// What happened to demands so far.
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
    /// Gone before they were answered.
    pub cancelled: u64,
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

    pub(crate) fn refused(&mut self, reason: RefuseReason) {
        match reason {
            RefuseReason::TimedOut => self.timed_out += 1,
            RefuseReason::OpenFailed
            | RefuseReason::BackingOff
            | RefuseReason::ClosedBeforeSent => self.failed += 1,
            // Polled after its end: it has been counted.
            RefuseReason::Cancelled => {}
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
    /// How many may be in flight.
    pub limit: usize,
    /// What happened so far.
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
    /// What happened to demands.
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
