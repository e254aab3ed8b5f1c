//! One origin: the engine, the connections it decides about, and the one lock round both.

use std::fmt;
use std::num::NonZeroUsize;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderValue, Uri};
use tokio::time::Instant;
use tollgate_admission::{
    Admission, Demand, Effects, Grant, Locked, Machine, Pool, Refusal, ResourceId, Returned, Ticket,
};
use tollgate_core::{BoxError, CloseReason, Event, Origin, RefuseReason};

use crate::conn::Conn;
use crate::error::KeepAliveError;
use crate::lease::Lease;
use crate::protocol::Protocol;
use crate::sender::{self, OneByOne, Sender, Streams};
use crate::shared::Shared;
use crate::waiting::Turn;

/// What an event says that somebody waited at least who was queued: zero means never queued.
const QUEUED: Duration = Duration::from_nanos(1);

/// Why a dial failed: told to everyone who waited for it.
pub(crate) type DialFailure = Arc<BoxError>;

/// One origin of a pool.
pub(crate) struct OriginPool {
    pub(crate) origin: Origin,
    /// The `Host` of requests that have none.
    pub(crate) host: HeaderValue,
    /// What the connector is called with.
    pub(crate) uri: Uri,
    pub(crate) shared: Arc<Shared>,
    /// Guards the engine and the connections' senders. Under it: no user code, no wake, no drop of
    /// a sender; what the engine decides is carried out once it is released.
    inner: Locked<Inner>,
    /// Since when the oldest idle connection idles, for the search across origins under a total
    /// cap: milliseconds of the pool's clock plus one, 0 for none.
    oldest_idle: AtomicU64,
}

pub(crate) struct Inner {
    pub(crate) engine: Pool<DialFailure>,
    /// The cap that was asked for; that of the engine is lower for HTTP/2.
    pub(crate) limit: NonZeroUsize,
    /// What the last connection spoke: HTTP/2, or something else or nothing yet.
    pub(crate) has_streams: bool,
    /// By the resource's index.
    pub(crate) conns: Vec<Option<Entry>>,
    pub(crate) closed_by: [u64; CloseReason::ALL.len()],
    /// Bodies dropped early whose rest was at hand, so that the connection lived on.
    pub(crate) drained: u64,
    /// How many draining connections the observer knows of.
    pub(crate) told_draining: usize,
    /// Until when connections are not reused, after bytes that nobody asked for.
    pub(crate) quarantined_until: Option<Instant>,
    /// Since when maintenance has found nothing here.
    pub(crate) unused_since: Option<Instant>,
    /// When maintenance will look here next.
    pub(crate) looked_after_at: Option<Instant>,
}

pub(crate) struct Entry {
    pub(crate) resource: ResourceId,
    pub(crate) conn: Arc<Conn>,
    /// `None` while a lease has it.
    pub(crate) sender: Option<Sender>,
    /// What the senders of further leases are made of, for a connection that has many.
    streams: Option<Streams>,
}

/// What was opened.
pub(crate) enum Opened {
    OneByOne(OneByOne),
    Streams(Streams, NonZeroUsize),
}

/// What a demand led to.
pub(crate) enum Demanded {
    Lease(Lease),
    Wait(Ticket),
}

impl Demanded {
    /// Of what [`OriginPool::demand_into`] has left.
    pub(crate) fn of(lease: Option<Lease>, ticket: Option<Ticket>) -> Self {
        let leased = || lease.map(Self::Lease);
        let demanded = ticket.map(Self::Wait).or_else(leased);
        demanded.expect("either a ticket or a lease")
    }
}

impl Machine for Inner {
    type Error = DialFailure;

    fn has_effects(&self) -> bool {
        self.engine.has_effects()
    }

    fn take_effects(&mut self) -> Effects<DialFailure> {
        self.engine.take_effects()
    }
}

impl OriginPool {
    pub(crate) fn new(origin: Origin, host: HeaderValue, uri: Uri, shared: Arc<Shared>) -> Self {
        let limit = shared.config.limit(&origin);
        let has_streams = shared.config.protocol == Protocol::Http2;
        let max_open = shared.config.max_open(limit, has_streams);
        let config = shared.config.engine(&origin, max_open);
        let mut engine = Pool::new(config.seed(Shared::next_seed()));
        if shared.config.protocol.may_have_streams(&origin) {
            // One connection may turn out to be enough for everybody.
            engine.expect_leases(Instant::now(), NonZeroUsize::MAX);
        }
        let mut inner = Inner {
            engine,
            limit,
            has_streams,
            conns: Vec::new(),
            closed_by: [0; CloseReason::ALL.len()],
            drained: 0,
            told_draining: 0,
            quarantined_until: None,
            unused_since: None,
            looked_after_at: None,
        };
        if shared.is_stopped() {
            inner.engine.drain(Instant::now());
        }
        Self {
            origin,
            host,
            uri,
            shared,
            inner: Locked::new(inner),
            oldest_idle: AtomicU64::new(0),
        }
    }

    /// Runs `f` under the lock, then carries out what the engine decided.
    #[inline]
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Inner) -> R) -> R {
        let mut early = false;
        let result = self.inner.with_then(
            |inner| {
                let result = f(inner);
                if self.shared.total.is_some() {
                    let since = inner.engine.oldest_idle();
                    self.oldest_idle
                        .store(self.shared.stamp(since), Ordering::SeqCst);
                }
                early = inner.needs_earlier_look_locked();
                result
            },
            |effects| self.carry_out(effects),
        );
        if early {
            self.look_earlier();
        }
        result
    }

    #[cold]
    fn look_earlier(&self) {
        if !self.shared.maintenance.ensure(&self.shared) {
            self.expect_no_look();
        }
    }

    /// Nobody keeps the clocks any more: whatever is due next has to be told anew.
    pub(crate) fn expect_no_look(&self) {
        self.inner.with_then(
            |inner| {
                inner.looked_after_at = None;
                inner.engine.forget_tick();
            },
            |effects| self.carry_out(effects),
        );
    }

    #[cold]
    fn carry_out(&self, effects: Effects<DialFailure>) {
        effects.run(|resource, reason| {
            let ((conn, sender), _) = self.inner.with(|inner| inner.close_locked(resource));
            if let Some(conn) = conn {
                conn.close(reason);
            }
            drop(sender);
        });
    }

    /// Asks for a lease.
    pub(crate) fn demand(self: &Arc<Self>, demand: Demand) -> Result<Demanded, KeepAliveError> {
        let mut lease = None;
        let ticket = self.demand_into(demand, &mut lease)?;
        Ok(Demanded::of(lease, ticket))
    }

    /// Asks for a lease, and leaves it where it is wanted; a ticket if it has to be waited for.
    #[inline]
    pub(crate) fn demand_into(
        self: &Arc<Self>,
        demand: Demand,
        lease: &mut Option<Lease>,
    ) -> Result<Option<Ticket>, KeepAliveError> {
        let now = Instant::now();
        let admission = self.with(|inner| match inner.engine.demand(now, demand) {
            Admission::Granted(grant) => {
                let (conn, sender) = inner.checkout_locked(grant.resource);
                *lease = Some(Lease::new(self.clone(), conn, sender, grant.reused, now));
                Ok(None)
            }
            Admission::Queued(ticket) => Ok(Some(ticket)),
            Admission::Refused(refusal) => Err(refusal),
        });
        match admission {
            Ok(None) => {
                let reused = lease.as_ref().is_some_and(Lease::reused);
                self.observe_granted(Duration::ZERO, reused);
                Ok(None)
            }
            Ok(Some(ticket)) => {
                self.observe_queued();
                Ok(Some(ticket))
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
                    Ok(Ok((inner.checkout_locked(grant.resource), grant)))
                }
                Poll::Ready(Err(mut refusal)) => {
                    refusal.waited = refusal.waited.max(QUEUED);
                    Ok(Err(refusal))
                }
                Poll::Pending => Err((inner.engine.deadline(ticket), reserved)),
            }
        });
        match polled {
            Ok(Ok((taken, grant))) => Turn::Come(Ok((self.lease(taken, grant, now), grant.waited))),
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

    fn lease(
        self: &Arc<Self>,
        (conn, sender): (Arc<Conn>, Sender),
        grant: Grant,
        now: Instant,
    ) -> Lease {
        self.observe_granted(grant.waited, grant.reused);
        Lease::new(self.clone(), conn, sender, grant.reused, now)
    }

    #[inline]
    fn observe_granted(&self, waited: Duration, reused: bool) {
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
            error,
            ..
        } = refusal;
        self.observe(|| Event::Refused {
            origin: &self.origin,
            reason,
            waited,
        });
        let limit = self.shared.config.limit(&self.origin).get();
        KeepAliveError::refused(reason, self.origin.clone(), (waited, ahead, limit), error)
    }

    /// The caller of a waiting ticket went away.
    pub(crate) fn cancel(&self, ticket: Ticket, since: Instant) {
        let now = Instant::now();
        self.with(|inner| inner.engine.cancel(ticket, now));
        self.observe(|| Event::Refused {
            origin: &self.origin,
            reason: RefuseReason::Cancelled,
            waited: now.saturating_duration_since(since).max(QUEUED),
        });
    }

    /// Takes a lease back.
    #[inline]
    pub(crate) fn give_back(
        self: &Arc<Self>,
        conn: &Arc<Conn>,
        sender: Option<Sender>,
        returned: Returned,
        granted_at: Instant,
        drained: bool,
    ) {
        let now = Instant::now();
        self.observe(|| Event::Released {
            origin: &self.origin,
            held: now.saturating_duration_since(granted_at),
        });
        let Some(&resource) = conn.resource.get() else {
            return;
        };
        let (unused, returned) = self.with(|inner| {
            inner.drained += u64::from(drained);
            let returned = inner.judge_locked(self, resource, returned, now);
            let mut sender = sender;
            if let (Returned::Reusable { .. }, Some(entry)) =
                (returned, inner.entry_locked(resource))
            {
                // A stream's sender is dropped, outside, if there is one to spare already.
                if entry.sender.is_none() {
                    entry.sender = sender.take();
                }
            }
            inner.engine.lease_returned(resource, now, returned);
            (sender, returned)
        });
        // Outside the lock: both wake the driver.
        if let Returned::Retire(reason) = returned
            && !conn.has_streams
        {
            conn.close(reason);
        }
        drop(unused);
        self.shared.lease_returned();
    }

    /// A lease waits for its upload to end: that has a deadline, which maintenance keeps.
    pub(crate) fn lease_parked(&self) {
        self.shared.maintenance.poke();
    }

    /// The IO object of a connection was dropped: its place is free.
    fn gone(self: &Arc<Self>, conn: &Conn) {
        let Some(&resource) = conn.resource.get() else {
            return;
        };
        let now = Instant::now();
        let reason = conn.reason().unwrap_or(CloseReason::PeerClose);
        let gone = self.with(|inner| {
            let gone = inner.engine.resource_gone(resource, now, reason)?;
            inner.count_closed_locked(&self.shared, gone.reason, now);
            Some((gone, inner.take_entry_locked(resource)))
        });
        if let Some((gone, entry)) = gone {
            drop(entry);
            self.tell_draining();
            self.observe(|| Event::Closed {
                origin: &self.origin,
                connection: conn.number,
                reason: gone.reason,
                age: gone.age,
                served: gone.served,
            });
            self.shared.place_free();
            self.shared.gone.notify_waiters();
            // The origin may now be one to forget.
            self.shared.maintenance.poke();
        }
        crate::dial::start(self);
    }

    /// Tells the observer, if there is one.
    ///
    /// Its panic ends here: it would come in the middle of a transition, in a destructor or in a dial
    /// that belongs to others.
    #[inline]
    pub(crate) fn observe<'a>(&'a self, event: impl FnOnce() -> Event<'a>) {
        if let Some(observer) = &self.shared.observer {
            let event = event();
            let told = panic::catch_unwind(AssertUnwindSafe(|| observer.on_event(&event)));
            if told.is_err() {
                tracing::error!(origin = %self.origin, "the pool's observer panicked");
            }
        }
    }

    /// Nothing is open, opening or waiting.
    pub(crate) fn is_unused(&self) -> bool {
        self.with(|inner| inner.engine.is_empty())
    }

    /// And has been so for a while.
    pub(crate) fn is_forgotten(&self, now: Instant) -> bool {
        self.with(|inner| inner.is_forgotten_locked(now))
    }

    /// The stamp of the oldest idle connection, 0 if there is none.
    pub(crate) fn oldest_idle(&self) -> u64 {
        self.oldest_idle.load(Ordering::SeqCst)
    }

    /// Retires the connections that have idled since `at` or longer.
    pub(crate) fn retire_idle_until(&self, at: Instant, reason: CloseReason) {
        self.with(|inner| inner.engine.retire_idle_until(at, reason));
    }
}

impl Inner {
    /// Takes the sender of a granted connection.
    #[inline]
    fn checkout_locked(&mut self, granted: ResourceId) -> (Arc<Conn>, Sender) {
        let entry = self.conns[granted.index()].as_mut();
        let entry = entry.expect("a granted resource has an entry until it is gone");
        let further = || entry.streams.clone().map(sender::stream);
        let sender = entry.sender.take().or_else(further);
        let sender = sender.expect("an idle connection's sender is in its entry");
        (entry.conn.clone(), sender)
    }

    /// A connection was opened. Whoever it is granted to collects it after this lock.
    pub(crate) fn opened_locked(&mut self, conn: &Arc<Conn>, opened: Opened) {
        let (sender, streams, leases) = match opened {
            Opened::OneByOne(sender) => (sender::one_by_one(sender), None, NonZeroUsize::MIN),
            Opened::Streams(streams, leases) => {
                (sender::stream(streams.clone()), Some(streams), leases)
            }
        };
        let resource = self.engine.opened(conn.opened_at, leases);
        let index = resource.index();
        if self.conns.len() <= index {
            self.conns.resize_with(index + 1, || None);
        }
        self.conns[index] = Some(Entry {
            resource,
            conn: conn.clone(),
            sender: Some(sender),
            streams,
        });
        if conn.has_streams {
            // However few leases it offers now, it may come to offer more.
            let (now, leases) = (conn.opened_at, leases.get());
            self.engine.credit_changed(resource, now, leases);
        }
        let _set_once = conn.resource.set(resource);
    }

    fn entry_locked(&mut self, resource: ResourceId) -> Option<&mut Entry> {
        let entry = self.conns.get_mut(resource.index())?.as_mut()?;
        (entry.resource == resource).then_some(entry)
    }

    /// A connection is to be closed: its sender, if no lease has it.
    fn close_locked(&mut self, resource: ResourceId) -> (Option<Arc<Conn>>, Option<Sender>) {
        self.entry_locked(resource).map_or((None, None), |entry| {
            (Some(entry.conn.clone()), entry.sender.take())
        })
    }

    fn take_entry_locked(&mut self, resource: ResourceId) -> Option<Entry> {
        self.entry_locked(resource)?;
        self.conns[resource.index()].take()
    }

    fn count_closed_locked(&mut self, shared: &Shared, reason: CloseReason, now: Instant) {
        if let Some(at) = CloseReason::ALL.iter().position(|one| *one == reason) {
            self.closed_by[at] += 1;
        }
        if reason == CloseReason::Unsolicited {
            self.quarantined_until = shared.config.quarantine.map(|quarantine| now + quarantine);
        }
    }

    /// What the pool knows beyond the exchange: quarantine and the limits of hints.
    #[inline]
    fn judge_locked(
        &mut self,
        pool: &OriginPool,
        resource: ResourceId,
        returned: Returned,
        now: Instant,
    ) -> Returned {
        if self.quarantined_until.is_some_and(|until| now < until) {
            return Returned::Retire(CloseReason::Unsolicited);
        }
        // One that is gone has given its place back, and cannot give way with it again.
        if pool.shared.total.is_some()
            && self.entry_locked(resource).is_some()
            && pool
                .shared
                .must_yield(&pool.origin, self.engine.head_waiting_since())
        {
            return Returned::Retire(CloseReason::Reclaimed);
        }
        returned
    }
}

/// A connection's place in the cap, owned by its IO object: dropping it frees the place.
pub(crate) struct Place {
    pub(crate) origin: Arc<OriginPool>,
    pub(crate) conn: Arc<Conn>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.origin.gone(&self.conn);
    }
}

impl fmt::Debug for OriginPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OriginPool")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}
