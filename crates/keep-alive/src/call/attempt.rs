//! One call through the pool: a lease, an exchange on it, and what may be tried again.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::Instant;
use tollgate_admission::Demand;
use tollgate_core::{CloseReason, Event, Timings};

use crate::call::body::{Head, KeepAliveBody};
use crate::call::limits::TimeLeft;
use crate::call::progress::Progress;
use crate::call::retry::After;
use crate::call::span::AttemptSpan;
use crate::call::stale::StaleLosses;
use crate::call::tunnel::Tunnel;
use crate::connection::sender::Outgoing;
use crate::error::{KeepAliveError, KeepAliveErrorKind};
use crate::pool::checkout::Demanded;
use crate::pool::lease::Lease;
use crate::pool::origin_pool::OriginPool;
use crate::pool::owner::Owner;
use crate::pool::waiting::{InQueue, Waiting};

/// One call: what has to be remembered from one attempt to the next.
#[derive(Clone)]
pub(crate) struct Call {
    /// A pool lives at least as long as the calls through it wait.
    owner: Option<Arc<Owner>>,
    time_left: TimeLeft,
    /// The time at which it asked for its first lease, once that came to nothing.
    arrived: Option<Instant>,
    queued: Duration,
    pub(super) attempts: u32,
    /// How many of these found their connection closed before anything was sent.
    pub(super) lost: u32,
    /// An attempt that is over may have reached a server.
    pub(super) replayed: bool,
    /// The one replay that does not follow the loss of a stale connection was used.
    pub(super) replay_spent: bool,
    pub(super) stale: StaleLosses,
}

impl Call {
    #[inline]
    pub(crate) fn new(owner: Arc<Owner>) -> Self {
        let queued = Duration::ZERO;
        Self {
            owner: Some(owner),
            time_left: TimeLeft::default(),
            arrived: None,
            queued,
            attempts: 0,
            lost: 0,
            replayed: false,
            replay_spent: false,
            stale: StaleLosses::default(),
        }
    }

    /// It has its answer: the pool does not live for it any more, whose future may be kept.
    #[inline]
    pub(crate) fn let_go(&mut self) -> Option<Arc<Owner>> {
        self.owner.take()
    }

    /// Asks for a lease without waiting, unless the caller has reserved one: the way of a call that finds
    /// an idle connection. A place in the queue if it has to be waited for.
    ///
    /// Keeps to the request's limits from now on, in further attempts too.
    #[inline]
    pub(crate) fn ask(
        &mut self,
        pool: &Arc<OriginPool>,
        request: &Outgoing,
        lease: &mut Option<Lease>,
    ) -> Result<Option<InQueue>, KeepAliveError> {
        let extensions = request.as_ref().map(Request::extensions);
        self.time_left = extensions.map_or_else(TimeLeft::default, |extensions| {
            TimeLeft::of(extensions, pool.limits.as_ref())
        });
        // Reserved by the caller: asked again, it would hold two.
        if lease.is_some() {
            return Ok(None);
        }
        pool.demand_into(self.demand(), lease)
    }

    /// Hands the request to hyper.
    #[expect(clippy::inline_always, reason = "else a hit pays for its slower users")]
    #[inline(always)]
    pub(crate) fn send(&mut self, request: &mut Outgoing, lease: &mut Lease) -> Tunnel {
        self.attempts += 1;
        if lease.is_stream() {
            return Self::send_stream(request, lease);
        }
        let tunnel = request.as_ref().map_or(Tunnel::No, Tunnel::asked_by);
        if tunnel != Tunnel::No {
            // Before the request is sent: from the switch on another task may read, and the driver
            // must not.
            lease.allow_tunnel();
        }
        // Also once the replay is spent: the loss of a stale connection does not use it.
        let keep = lease.retry().idempotent;
        lease.send(request, keep);
        tunnel
    }

    /// A stream may be refused at any time, so what it takes to send the request again is kept.
    #[inline(never)]
    fn send_stream(request: &mut Outgoing, lease: &mut Lease) -> Tunnel {
        let keep = lease.retry().unsent > 0;
        lease.send(request, keep);
        Tunnel::No
    }

    /// Carries the request through with whatever waiting and starting again it takes.
    ///
    /// Cancel safe: a waiting call leaves the queue; an exchange in progress takes its connection
    /// with it, since HTTP/1 has no other way to stop; dials go on and serve others.
    pub(crate) async fn run(
        mut self,
        pool: Arc<OriginPool>,
        mut request: Outgoing,
        mut next: Demanded,
        mut span: AttemptSpan,
        progress: Arc<Progress>,
    ) -> Result<Response<KeepAliveBody>, KeepAliveError> {
        loop {
            let mut lease = match next {
                Demanded::Lease(lease) => lease,
                Demanded::Wait(place) => {
                    let waited = Waiting::new(place, self.lost).await;
                    let (lease, waited) = waited.map_err(|error| self.refused(error, &mut span))?;
                    self.queued += waited;
                    span.waited(waited);
                    lease
                }
            };
            // Before hyper has the request: on a connection that is lost already it would be lost
            // too.
            if !lease.make_sure().await {
                self.loses(&lease);
                self.attempts += 1;
                span.failed(&lease, &"the connection was found dead");
                self.after_death(&pool, lease)?;
            } else if !fits(&request, &lease) {
                // Nothing was tried on it, and the next may be of another peer behind the same name.
                self.loses(&lease);
                lease.failed(CloseReason::PeerClose);
            } else {
                let tunnel = self.send(&mut request, &mut lease);
                // From here on a call that is given up may have reached the peer.
                progress.sends(&self, &lease);
                match self.head(&mut lease).await {
                    Ok(response) => {
                        let response = self.finish(response, lease, tunnel);
                        span.answered(&response);
                        return Ok(response);
                    }
                    Err(failure) => {
                        span.failed(&lease, failure.error());
                        match self.after(failure, lease) {
                            After::Again(again) => request = Some(again),
                            After::Fail(error) => return Err(error),
                        }
                    }
                }
            }
            // Before it asks again: a call given up in the queue has no connection.
            progress.waits(&self);
            // A new span before the wait, which belongs to the attempt that waits.
            span = self.span(&pool, &request);
            next = self
                .ask_again(&pool)
                .map_err(|error| self.refused(error, &mut span))?;
        }
    }

    /// Gives back a lease whose connection was closed before anything was sent on it; the error if no
    /// other is tried.
    fn after_death(&mut self, pool: &Arc<OriginPool>, lease: Lease) -> Result<(), KeepAliveError> {
        // Counted before the lease is gone, by which it is counted.
        let is_spent = self.found_dead(&lease);
        let greeting = lease.conn().io.greeting();
        let refusal = lease.conn().refused_by_peer();
        lease.found_dead();
        if let Some(greeting) = greeting {
            return Err(self.not_http1(pool, greeting, false));
        }
        if let Some(refusal) = refusal {
            return Err(self.refused_by_peer(pool, refusal));
        }
        if is_spent {
            return Err(self.error(pool, KeepAliveErrorKind::ClosedBeforeSent));
        }
        Ok(())
    }

    /// A lease came to nothing: the call waits for the next from the place that its arrival gives it.
    #[cold]
    pub(super) fn loses(&mut self, lease: &Lease) {
        let queued = self.queued;
        let granted_at = lease.granted_at();
        let asked_at = || granted_at.checked_sub(queued).unwrap_or(granted_at);
        // The first time alone: it keeps the place of its first demand, however often it loses.
        self.arrived.get_or_insert_with(asked_at);
    }

    /// A connection was closed before anything was sent on it; `true` if no other is tried.
    fn found_dead(&mut self, lease: &Lease) -> bool {
        if self.stale.is_one(lease) {
            return false;
        }
        self.lost += 1;
        let is_spent = self.attempts - self.stale.count() > lease.retry().unsent;
        // The budget is asked last, since a yes takes from it, and for fresh connections alone: of
        // stale ones there are no more than have served.
        is_spent || !(lease.may_be_stale() || lease.origin().takes_retry())
    }

    /// The span of the attempt that begins now, if anybody listens.
    #[inline]
    pub(crate) fn span(&self, pool: &OriginPool, request: &Outgoing) -> AttemptSpan {
        let method = request.as_ref().map(Request::method);
        AttemptSpan::start(Some(&pool.origin), method, self.attempts + 1)
    }

    /// An attempt got no connection: the error is the request's, with the waits and attempts before.
    pub(crate) fn refused(&self, error: KeepAliveError, span: &mut AttemptSpan) -> KeepAliveError {
        span.refused(&error);
        error
            .after(self.queued, self.attempts)
            .heard_before(self.replayed)
    }

    /// Asks for a lease for another attempt.
    pub(crate) fn ask_again(&self, pool: &Arc<OriginPool>) -> Result<Demanded, KeepAliveError> {
        let attempt = self.attempts + 1;
        pool.observe(|| Event::Retried {
            origin: &pool.origin,
            attempt,
        });
        pool.demand(self.demand())
    }

    fn demand(&self) -> Demand {
        let demand = self.time_left.demand();
        demand.retry(self.arrived.is_some()).arrived(self.arrived)
    }

    #[expect(
        clippy::inline_always,
        reason = "else the response is moved twice more"
    )]
    #[inline(always)]
    pub(crate) fn finish(
        &self,
        mut response: Response<Incoming>,
        mut lease: Lease,
        tunnel: Tunnel,
    ) -> Response<KeepAliveBody> {
        // First: an empty body gives the lease back at once, with what the head has said of reuse.
        lease.head_arrived(&response);
        if tunnel.opened_by(response.status()) {
            // Before the body is made: an empty one would end the lease, and free the place beside
            // a living tunnel.
            lease.become_tunnel();
        }
        let arrived_at = Instant::now();
        lease.conn().head_came(arrived_at);
        let head = Head {
            queued: self.queued,
            arrived_at,
            attempts: self.attempts,
        };
        if lease.origin().shared.config.timings_in_extensions {
            response.extensions_mut().insert(head.timings(&lease));
        }
        response.map(|incoming| KeepAliveBody::new(incoming, lease, head))
    }

    pub(super) fn error(&self, pool: &OriginPool, kind: KeepAliveErrorKind) -> KeepAliveError {
        KeepAliveError::new(kind, Some(pool.origin.clone()))
            .with_timings(self.timings())
            .heard_before(self.replayed)
    }

    /// How far it has come without a connection.
    pub(crate) fn timings(&self) -> Timings {
        let mut timings = Timings::default();
        timings.queued = self.queued;
        timings.attempts = self.attempts;
        timings
    }

    /// How far it has come on this connection.
    pub(crate) fn timings_on(&self, lease: &Lease) -> Timings {
        let mut timings = lease.timings();
        timings.queued = self.queued;
        timings.attempts = self.attempts;
        timings
    }

    /// Whether no attempt that is over can have reached a server: all but a replayed one were handed
    /// back unwritten, or the peer said that it did not process them.
    pub(crate) const fn nothing_sent(&self) -> bool {
        !self.replayed
    }
}

/// Returns true if the connection takes the body of this request.
fn fits(request: &Outgoing, lease: &Lease) -> bool {
    let request = request.as_ref();
    request.is_some_and(|request| lease.carries(request.body()))
}
