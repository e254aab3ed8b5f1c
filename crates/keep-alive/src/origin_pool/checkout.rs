//! How a lease is come by: asked for, queued for, granted or refused.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tollgate_admission::{Admission, Demand, Grant, Refusal, Ticket};
use tollgate_core::{Event, RefuseReason, wait};

use super::{DialFailure, Inner, OriginPool};
use crate::error::KeepAliveError;
use crate::lease::Lease;
use crate::sender;
use crate::waiting::{InQueue, Turn};

/// What an event says that somebody waited at least who was queued: zero means never queued.
const QUEUED: Duration = Duration::from_nanos(1);

/// What a demand led to.
pub(crate) enum Demanded {
    Lease(Lease),
    Wait(InQueue),
}

impl Demanded {
    /// Of what [`OriginPool::demand_into`] has left.
    pub(crate) fn of(lease: Option<Lease>, place: Option<InQueue>) -> Self {
        let leased = || lease.map(Self::Lease);
        let demanded = place.map(Self::Wait).or_else(leased);
        demanded.expect("either a place in the queue or a lease")
    }
}

impl OriginPool {
    /// Asks for a lease.
    pub(crate) fn demand(self: &Arc<Self>, demand: Demand) -> Result<Demanded, KeepAliveError> {
        let mut lease = None;
        let place = self.demand_into(demand, &mut lease)?;
        Ok(Demanded::of(lease, place))
    }

    /// Asks for a lease, and leaves it where it is wanted; a place in the queue if it has to be waited
    /// for.
    #[inline]
    pub(crate) fn demand_into(
        self: &Arc<Self>,
        demand: Demand,
        lease: &mut Option<Lease>,
    ) -> Result<Option<InQueue>, KeepAliveError> {
        let now = Instant::now();
        let admission = self.with(|inner| match inner.engine.demand(now, demand) {
            Admission::Granted(grant) => {
                *lease = Some(inner.lease_locked(self, &grant, now));
                Ok(None)
            }
            Admission::Queued(ticket) => Ok(Some(InQueue::new(self.clone(), ticket, now))),
            Admission::Refused(refusal) => Err(refusal),
        });
        match admission {
            Ok(None) => {
                let reused = lease.as_ref().is_some_and(Lease::reused);
                self.observe_granted(Duration::ZERO, reused);
                Ok(None)
            }
            Ok(Some(place)) => {
                self.observe_queued();
                Ok(Some(place))
            }
            Err(refusal) => Err(self.refused(refusal)),
        }
    }

    /// Asks whether a ticket's turn has come.
    pub(crate) fn poll_ticket(self: &Arc<Self>, ticket: Ticket, cx: &mut Context<'_>) -> Turn {
        let now = Instant::now();
        let polled = self.with(|inner| {
            let reserved = inner.engine.is_reserved(ticket);
            match inner.engine.poll(ticket, now, cx.waker()) {
                Poll::Ready(Ok(mut grant)) => {
                    grant.waited = grant.waited.max(QUEUED);
                    // Made here: what runs after the lock may panic, and a lease gives itself back.
                    Ok(Ok((inner.lease_locked(self, &grant, now), grant)))
                }
                Poll::Ready(Err(mut refusal)) => {
                    refusal.waited = refusal.waited.max(QUEUED);
                    Ok(Err(refusal))
                }
                Poll::Pending => Err((inner.engine.deadline(ticket), reserved)),
            }
        });
        match polled {
            Ok(Ok((lease, grant))) => {
                self.observe_granted(grant.waited, grant.reused);
                Turn::Come(Ok((lease, grant.waited)))
            }
            Ok(Err(refusal)) => Turn::Come(Err(self.refused(refusal))),
            Err((deadline, false)) => Turn::At(deadline),
            Err((deadline, true)) => Turn::Lost(deadline),
        }
    }

    fn observe_queued(&self) {
        if self.shared.observer.is_some() {
            let queued = self.with(|inner| inner.engine.stats().queued);
            let ahead = queued.saturating_sub(1);
            self.observe(|| Event::Queued {
                origin: &self.origin,
                ahead,
            });
        }
    }

    #[inline]
    fn observe_granted(&self, waited: Duration, reused: bool) {
        if !waited.is_zero() {
            self.waited(waited);
        }
        self.observe(|| Event::Granted {
            origin: &self.origin,
            waited,
            reused,
        });
    }

    fn refused(&self, refusal: Refusal<DialFailure>) -> KeepAliveError {
        let Refusal {
            reason,
            waited,
            ahead,
            overdue,
            error,
            ..
        } = refusal;
        if !waited.is_zero() {
            self.waited(waited);
        }
        self.observe(|| Event::Refused {
            origin: &self.origin,
            reason,
            waited,
        });
        let numbers = (waited, ahead, self.limit());
        let told = KeepAliveError::refused(reason, self.origin.clone(), numbers, error);
        if overdue { told.overdue() } else { told }
    }

    /// The caller of a waiting ticket went away.
    pub(crate) fn cancel(&self, ticket: Ticket, since: Instant) {
        let now = Instant::now();
        self.with(|inner| inner.engine.cancel(ticket, now));
        self.left(RefuseReason::Cancelled, since, now);
    }

    /// A waiting ticket is of no use to its caller any more.
    pub(crate) fn give_up(&self, ticket: Ticket, since: Instant, reason: RefuseReason) {
        let now = Instant::now();
        self.with(|inner| inner.engine.give_up(ticket, now, reason));
        self.left(reason, since, now);
    }

    fn left(&self, reason: RefuseReason, since: Instant, now: Instant) {
        self.shared.demand_changed(self);
        let waited = now.saturating_duration_since(since).max(QUEUED);
        self.waited(waited);
        self.observe(|| Event::Refused {
            origin: &self.origin,
            reason,
            waited,
        });
    }

    /// A wait is over, however it ended.
    #[cold]
    fn waited(&self, waited: Duration) {
        self.waits.add(waited);
        wait::add(waited);
    }
}

impl Inner {
    /// The lease that was granted, with the connection's sender.
    #[inline]
    fn lease_locked(&mut self, pool: &Arc<OriginPool>, grant: &Grant, now: Instant) -> Lease {
        let entry = self.conns[grant.resource.index()].as_mut();
        let entry = entry.expect("a granted resource has an entry until it is gone");
        let further = || entry.streams.clone().map(sender::stream);
        let sender = entry.sender.take().or_else(further);
        let sender = sender.expect("an idle connection's sender is in its entry");
        let conn = entry.conn.clone();
        Lease::new(pool.clone(), conn, sender, grant.reused, now)
    }
}
