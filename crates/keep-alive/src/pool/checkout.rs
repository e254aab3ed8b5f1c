//! The checkout of a lease: the demand, the queue, the grant or the refusal.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;
use tollgate_admission::{Admission, Demand, Departure, Grant, Refusal, Ticket};
use tollgate_core::{Event, RefuseReason, wait};

use crate::connection::sender;
use crate::error::{KeepAliveError, KeepAliveErrorKind, OwnTime};
use crate::pool::inner::{DialFailure, Inner};
use crate::pool::lease::Lease;
use crate::pool::origin_pool::OriginPool;
use crate::pool::waiting::{InQueue, Pause, Turn};

/// The least wait in an event of a queued request: zero means never queued.
const QUEUED: Duration = Duration::from_nanos(1);

/// The outcome of a demand.
pub(crate) enum Demanded {
    Lease(Lease),
    Wait(InQueue),
}

/// The answer of the engine to a demand, or that it is not the one to ask.
enum Asked {
    Granted(bool),
    Queued(InQueue, usize),
    Refused(Refusal<DialFailure>),
    Forgotten,
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

    /// Asks for a lease, and puts it where it is wanted; a place in the queue if it has to be waited
    /// for.
    #[inline]
    pub(crate) fn demand_into(
        self: &Arc<Self>,
        demand: Demand,
        lease: &mut Option<Lease>,
    ) -> Result<Option<InQueue>, KeepAliveError> {
        // Read before the lock, so it may be behind what another thread has just reported: the
        // engine's times saturate.
        let now = Instant::now();
        // The call may be dropped before its first poll, and a dial for it would be a ghost connect (A2).
        let demand = demand.opens_when_polled(true);
        let admission = self.touch(|inner| {
            // Under the lock: the demand would queue in an engine that no clock looks at any more.
            if inner.is_forgotten() {
                return Asked::Forgotten;
            }
            match inner.engine.demand(now, demand) {
                Admission::Granted(grant) => {
                    // Made under the lock: a lease gives itself back, so that nothing is lost if
                    // what follows panics.
                    *lease = Some(inner.lease_locked(self, &grant, now));
                    Asked::Granted(grant.reused)
                }
                Admission::Queued(ticket) => {
                    // Before another thread touches the origin, the clock's for one: a dial that it
                    // starts for another goes to the runtime seen last, which may not be driven any more.
                    if let Ok(runtime) = Handle::try_current() {
                        inner.runtimes.seen(&runtime);
                    }
                    // Under the lock: after it others may have come.
                    let ahead = inner.engine.queued().saturating_sub(1);
                    Asked::Queued(InQueue::new(self.clone(), ticket, now), ahead)
                }
                Admission::Refused(refusal) => Asked::Refused(refusal),
            }
        });
        // With the lock open: what is reported now runs the observer, which is the caller's code.
        match admission {
            Asked::Granted(reused) => {
                self.observe_granted(Duration::ZERO, Duration::ZERO, reused);
                Ok(None)
            }
            Asked::Queued(place, ahead) => {
                let origin = &self.origin;
                self.observe(|| Event::Queued { origin, ahead });
                Ok(Some(place))
            }
            Asked::Refused(refusal) => Err(self.refused(refusal)),
            // With the lock open too: the successor is met under the table's lock, and asked under
            // its own.
            Asked::Forgotten => self.successor()?.demand_into(demand, lease),
        }
    }

    /// Opens connections until `n` are open or opening.
    pub(crate) fn warm(self: &Arc<Self>, n: usize, runtime: &Handle) -> Result<(), KeepAliveError> {
        let is_forgotten = self.touch(|inner| {
            // As a demand: no request would find what opens here.
            if !inner.is_forgotten() {
                inner.runtimes.seen(runtime);
                inner.engine.warm(n);
            }
            inner.is_forgotten()
        });
        if is_forgotten {
            return self.successor()?.warm(n, runtime);
        }
        Ok(())
    }

    /// The origin as the table has it, for a handle that was kept while the origin was forgotten.
    #[cold]
    fn successor(&self) -> Result<Arc<Self>, KeepAliveError> {
        let origins = self.shared.origins.upgrade();
        let met = origins.and_then(|origins| origins.meet(&self.origin, &self.shared));
        met.ok_or_else(|| {
            KeepAliveError::new(KeepAliveErrorKind::Closed, Some(self.origin.clone()))
        })
    }

    /// Asks whether a ticket's turn has come.
    pub(crate) fn poll_ticket(
        self: &Arc<Self>,
        ticket: Ticket,
        runtime: &Handle,
        cx: &mut Context<'_>,
    ) -> Turn {
        let now = Instant::now();
        let polled = self.touch(|inner| {
            // Before the engine is asked: the transaction dials on the runtime seen last.
            inner.runtimes.seen(runtime);
            // Read before the poll, which takes a lost reservation back without a word.
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
                Poll::Pending => {
                    let deadline = inner.engine.deadline(ticket);
                    let own = inner.runtimes.dials_on(runtime.id());
                    // Reserved before and pending now: its connection was lost in between.
                    let lost = reserved.then(|| inner.lately_refused(now));
                    Err((Pause { deadline, own }, lost))
                }
            }
        });
        match polled {
            Ok(Ok((lease, grant))) => {
                self.observe_granted(grant.waited, grant.opening, grant.reused);
                Turn::Come(Ok((lease, grant.waited)))
            }
            Ok(Err(refusal)) => Turn::Come(Err(self.refused(refusal))),
            Err((pause, None)) => Turn::At(pause),
            Err((pause, Some(refused))) => Turn::Lost(pause, refused),
        }
    }

    #[inline]
    fn observe_granted(&self, waited: Duration, dial: Duration, reused: bool) {
        // Zero means never queued: a hit counts no wait.
        if !waited.is_zero() {
            self.waited(waited, dial);
        }
        self.observe(|| Event::Granted {
            origin: &self.origin,
            waited,
            dial,
            reused,
        });
    }

    fn refused(&self, refusal: Refusal<DialFailure>) -> KeepAliveError {
        let Refusal {
            reason,
            waited,
            opening: dial,
            ahead,
            overdue,
            late,
            error,
            ..
        } = refusal;
        if !waited.is_zero() {
            self.waited(waited, dial);
        }
        self.observe(|| Event::Refused {
            origin: &self.origin,
            reason,
            waited,
            dial,
        });
        let numbers = (waited, ahead, self.limit());
        let told = KeepAliveError::refused(reason, self.origin.clone(), numbers, error);
        let over = || OwnTime::Over {
            connecting: self.read(|inner| inner.engine.stats().connecting > 0),
        };
        match late.map(OwnTime::Short).or_else(|| overdue.then(over)) {
            Some(late) => told.with_own_time(late),
            None => told,
        }
    }

    /// The caller of a waiting ticket went away.
    pub(crate) fn cancel(self: &Arc<Self>, ticket: Ticket) {
        let now = Instant::now();
        let left = self.touch(|inner| inner.engine.cancel(ticket, now));
        self.left(&left);
    }

    /// A waiting ticket is of no use to its caller any more.
    pub(crate) fn give_up(self: &Arc<Self>, ticket: Ticket, reason: RefuseReason) {
        let now = Instant::now();
        let left = self.touch(|inner| inner.engine.give_up(ticket, now, reason));
        self.left(&left);
    }

    /// Takes a retry from what the pool may retry of its own accord; `false` if that is spent.
    #[cold]
    pub(crate) fn takes_retry(self: &Arc<Self>) -> bool {
        let now = Instant::now();
        self.touch(|inner| inner.engine.take_retry(now))
    }

    fn left(&self, left: &Departure) {
        let waited = left.waited.max(QUEUED);
        self.waited(waited, left.opening);
        self.observe(|| Event::Refused {
            origin: &self.origin,
            reason: left.reason,
            waited,
            dial: left.opening,
        });
    }

    /// A wait is over, however it ended.
    #[cold]
    fn waited(&self, waited: Duration, dial: Duration) {
        self.waits.add(waited, dial);
        wait::add(waited);
    }
}

impl Inner {
    /// The lease that was granted, with the connection's sender.
    #[inline]
    fn lease_locked(&mut self, pool: &Arc<OriginPool>, grant: &Grant, now: Instant) -> Lease {
        let entry = self.conns[grant.resource.index()].as_mut();
        let entry = entry.expect("a granted resource has an entry until it is gone");
        // The one sender of HTTP/1 came back with the last lease. That of a multiplexed connection
        // may be out, and a further one is made.
        let further = || entry.streams.clone().map(sender::stream);
        let sender = entry.sender.take().or_else(further);
        let sender = sender.expect("an idle connection's sender is in its entry");
        let conn = entry.conn.clone();
        Lease::new(pool.clone(), conn, sender, grant, now)
    }
}
