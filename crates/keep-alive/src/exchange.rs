//! One call through the pool: a lease, an exchange on it, and what may be tried again.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use tokio::time::Instant;
use tollgate_admission::Demand;
use tollgate_core::{CloseReason, Event, Timings};

use crate::body::{Head, KeepAliveBody};
use crate::deadline::Deadline;
use crate::erased::ErasedBody;
use crate::error::{KeepAliveError, KeepAliveErrorKind};
use crate::lease::Lease;
use crate::no_retry::NoRetry;
use crate::origin_pool::{Demanded, OriginPool};
use crate::request::Replay;
use crate::sender::Outgoing;
use crate::service::Owner;
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
    replayed: bool,
}

/// What an attempt that failed leaves to do.
#[expect(
    clippy::large_enum_variant,
    reason = "lives for one match, off the way of a hit"
)]
pub(crate) enum After {
    Again(Request<ErasedBody>),
    Fail(KeepAliveError),
}

/// What an exchange that failed says about its request.
struct Saying {
    /// After how many attempts nothing is started again.
    most_attempts: u32,
    /// The peer says that it did not process it.
    unprocessed: bool,
    /// It was lost with a connection that was stale: an idempotent one may be sent once more.
    may_replay: bool,
    /// It was lost with its connection.
    lost: bool,
}

/// How an exchange failed.
pub(crate) type Failure = TrySendError<Request<ErasedBody>>;

impl Call {
    #[inline]
    pub(crate) fn new(owner: Arc<Owner>) -> Self {
        let queued = Duration::ZERO;
        Self {
            _owner: owner,
            deadline: None,
            queued,
            attempts: 0,
            replayed: false,
        }
    }

    /// Asks for a lease without waiting: the way of a call that finds an idle connection. A place in
    /// the queue if it has to be waited for.
    #[inline]
    pub(crate) fn ask(
        &mut self,
        pool: &Arc<OriginPool>,
        request: &Outgoing,
        lease: &mut Option<Lease>,
    ) -> Result<Option<InQueue>, KeepAliveError> {
        self.heed_deadline(request);
        pool.demand_into(self.demand(), lease)
    }

    /// Keeps to the request's deadline from now on, in further attempts too.
    #[inline]
    pub(crate) fn heed_deadline(&mut self, request: &Outgoing) {
        let extensions = request.as_ref().map(Request::extensions);
        let deadline = extensions.and_then(|extensions| extensions.get::<Deadline>());
        self.deadline = deadline.map(|deadline| deadline.instant());
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
    ) -> Result<Response<KeepAliveBody>, KeepAliveError> {
        loop {
            let mut lease = match next {
                Demanded::Lease(lease) => lease,
                Demanded::Wait(place) => {
                    let waited = Waiting::new(place).await;
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
                span.failed(&lease, &"the connection was found dead");
                lease.failed(CloseReason::PeerEof);
                if self.attempts > pool.shared.config.retry.unsent {
                    return Err(self.error(&pool, KeepAliveErrorKind::ClosedBeforeSent));
                }
            } else {
                let tunnel = self.send(&mut request, &mut lease);
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
        error.after(self.queued, self.attempts)
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

    /// Decides what follows from an attempt that failed, and gives the lease back.
    pub(crate) fn after(&mut self, mut error: Failure, mut lease: Lease) -> After {
        if lease.is_stream() {
            return self.after_stream(error, lease);
        }
        let pool = lease.origin().clone();
        let replay = lease.take_replay();
        let unsent = error.take_message();
        let error = error.into_error();
        let lost = !error.is_parse() && !error.is_user() && !is_nonsense(&error);
        let silent = lost && !lease.conn().io.answered(error.is_incomplete_message());
        let (reused, granted_at) = (lease.may_be_stale(), lease.granted_at());
        let took = granted_at.elapsed();
        lease.failed(if silent {
            CloseReason::PeerEof
        } else {
            CloseReason::Error
        });
        if silent && reused {
            // Those that have idled at least as long are most likely dead too: they are closed
            // rather than tried one after the other.
            pool.retire_idle_until(granted_at, CloseReason::PeerEof);
        }
        let saying = Saying {
            most_attempts: pool.shared.config.retry.unsent,
            unprocessed: false,
            may_replay: silent,
            lost,
        };
        self.decide(unsent, replay, &saying, |call, kind| {
            call.error(&pool, kind).with_source(error).with_took(took)
        })
    }

    /// As [`after`](Self::after), for one stream among others: they go on.
    ///
    /// What the peer says it did not process is sent again whatever its method: a refused stream, and
    /// one that a GOAWAY leaves out (RFC 9113 section 8.7).
    fn after_stream(&mut self, mut error: Failure, mut lease: Lease) -> After {
        let pool = lease.origin().clone();
        let (replay, reused) = (lease.take_replay(), lease.may_be_stale());
        let mut unsent = error.take_message();
        if let Some(request) = &mut unsent {
            lease.unwatch(request);
        }
        let error = error.into_error();
        let (lost, took) = (lease.is_dead(), lease.granted_at().elapsed());
        let unprocessed = crate::http2::is_unprocessed(&error);
        if unprocessed && !lost {
            lease.refused();
        }
        let retry = &pool.shared.config.retry;
        // A peer that ends its connections after so many requests may do so with all of them at once.
        let most_attempts = if lost {
            retry.unsent.saturating_mul(4)
        } else {
            retry.unsent
        };
        let saying = Saying {
            most_attempts,
            unprocessed,
            may_replay: retry.idempotent && !self.replayed && lost && reused,
            lost,
        };
        let after = self.decide(unsent, replay, &saying, |call, kind| {
            call.error(&pool, kind).with_source(error).with_took(took)
        });
        lease.give_back();
        after
    }

    /// What is sent again: what was not sent, what the peer says it did not process, and once what
    /// may have been lost with a connection that was stale.
    fn decide(
        &mut self,
        unsent: Option<Request<ErasedBody>>,
        replay: Option<Replay>,
        saying: &Saying,
        error: impl FnOnce(&Self, KeepAliveErrorKind) -> KeepAliveError,
    ) -> After {
        let may_again = self.attempts <= saying.most_attempts;
        let replay = replay.filter(Replay::is_allowed);
        let nothing_sent = unsent.is_some() || saying.unprocessed;
        let again = match (unsent, replay) {
            (Some(request), _) => {
                Some(request).filter(|one| may_again && !NoRetry::is_in(one.extensions()))
            }
            (None, Some(replay)) if saying.unprocessed && may_again => replay.into_request(),
            (None, Some(replay)) if saying.may_replay && replay.is_idempotent() => {
                self.replayed = true;
                replay.into_request()
            }
            (None, _) => None,
        };
        match again {
            Some(request) => After::Again(request),
            None if nothing_sent => After::Fail(error(self, KeepAliveErrorKind::ClosedBeforeSent)),
            None if saying.lost => After::Fail(error(self, KeepAliveErrorKind::ClosedAfterSent)),
            None => After::Fail(error(self, KeepAliveErrorKind::Exchange)),
        }
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
        let mut timings = Timings::default();
        timings.queued = self.queued;
        timings.attempts = self.attempts;
        KeepAliveError::new(kind, Some(pool.origin.clone())).with_timings(timings)
    }
}

/// Whether what came could not be made sense of below HTTP, or was too much before a final head.
fn is_nonsense(error: &hyper::Error) -> bool {
    tollgate_core::error::find::<std::io::Error>(error)
        .is_some_and(|error| error.kind() == std::io::ErrorKind::InvalidData)
}

/// How a request asks to leave HTTP.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tunnel {
    No,
    Upgrade,
    Connect,
}

impl Tunnel {
    #[inline]
    fn asked_by(request: &Request<ErasedBody>) -> Self {
        if request.method() == Method::CONNECT {
            Self::Connect
        } else if !request.headers().is_empty()
            && request.headers().contains_key(http::header::UPGRADE)
        {
            Self::Upgrade
        } else {
            Self::No
        }
    }

    fn opened_by(self, status: StatusCode) -> bool {
        match self {
            Self::No => false,
            Self::Upgrade => status == StatusCode::SWITCHING_PROTOCOLS,
            Self::Connect => status.is_success(),
        }
    }
}
