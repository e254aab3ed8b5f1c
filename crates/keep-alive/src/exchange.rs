//! One call through the pool: a lease, an exchange on it, and what may be tried again.

mod after;
mod tunnel;

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::Instant;
use tollgate_admission::Demand;
use tollgate_core::{CloseReason, Event, Timings};

pub(crate) use self::after::{After, Failure};
pub(crate) use self::tunnel::Tunnel;
use crate::body::{Head, KeepAliveBody};
use crate::deadline::Deadline;
use crate::error::{KeepAliveError, KeepAliveErrorKind};
use crate::lease::Lease;
use crate::origin_pool::{Demanded, OriginPool};
use crate::owner::Owner;
use crate::progress::Progress;
use crate::sender::Outgoing;
use crate::spans::AttemptSpan;
use crate::waiting::{InQueue, Waiting};

/// One call: what has to be remembered from one attempt to the next.
#[derive(Clone)]
pub(crate) struct Call {
    /// A pool lives at least as long as the calls through it wait.
    _owner: Arc<Owner>,
    deadline: Option<Instant>,
    queued: Duration,
    attempts: u32,
    /// How many of these found their connection closed before anything was sent.
    lost: u32,
    replayed: bool,
}

impl Call {
    #[inline]
    pub(crate) fn new(owner: Arc<Owner>) -> Self {
        let queued = Duration::ZERO;
        Self {
            _owner: owner,
            deadline: None,
            queued,
            attempts: 0,
            lost: 0,
            replayed: false,
        }
    }

    /// Asks for a lease without waiting, unless the caller has reserved one: the way of a call that finds
    /// an idle connection. A place in the queue if it has to be waited for.
    ///
    /// Keeps to the request's deadline from now on, in further attempts too.
    #[inline]
    pub(crate) fn ask(
        &mut self,
        pool: &Arc<OriginPool>,
        request: &Outgoing,
        lease: &mut Option<Lease>,
    ) -> Result<Option<InQueue>, KeepAliveError> {
        let extensions = request.as_ref().map(Request::extensions);
        let deadline = extensions.and_then(|extensions| extensions.get::<Deadline>());
        self.deadline = deadline.map(|deadline| deadline.instant());
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
            lease.allow_tunnel();
        }
        let keep = lease.retry().idempotent && !self.replayed && lease.may_be_stale();
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
            if lease.conn().io.unread() {
                lease.settle_pending_reads().await;
            }
            if lease.is_dead() {
                self.attempts += 1;
                self.lost += 1;
                span.failed(&lease, &"the connection was found dead");
                lease.failed(CloseReason::PeerEof);
                if self.attempts > pool.shared.config.retry.unsent {
                    return Err(self.error(&pool, KeepAliveErrorKind::ClosedBeforeSent));
                }
            } else {
                let tunnel = self.send(&mut request, &mut lease);
                progress.sends(&self, &lease);
                match poll_fn(|cx| lease.poll_head(cx)).await {
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
            progress.waits(&self);
            span = self.span(&pool, &request);
            next = self
                .ask_again(&pool)
                .map_err(|error| self.refused(error, &mut span))?;
        }
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
        Demand::new()
            .hard_deadline(self.deadline)
            .retry(self.attempts > 0)
    }

    #[expect(
        clippy::inline_always,
        reason = "else the response is moved twice more"
    )]
    #[inline(always)]
    pub(crate) fn finish(
        &self,
        response: Response<Incoming>,
        mut lease: Lease,
        tunnel: Tunnel,
    ) -> Response<KeepAliveBody> {
        lease.head_arrived(&response);
        let in_extensions = lease.origin().shared.config.timings_in_extensions;
        if tunnel.opened_by(response.status()) {
            lease.become_tunnel();
        }
        let head = Head {
            queued: self.queued,
            arrived_at: Instant::now(),
            attempts: self.attempts,
        };
        let mut response = response.map(|incoming| KeepAliveBody::new(incoming, lease, head));
        if in_extensions {
            let timings = response.body().timings();
            response.extensions_mut().insert(timings);
        }
        response
    }

    fn error(&self, pool: &OriginPool, kind: KeepAliveErrorKind) -> KeepAliveError {
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
