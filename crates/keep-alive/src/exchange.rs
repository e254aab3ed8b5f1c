//! One call through the pool: a lease, an exchange on it, and what may be tried again.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::Instant;
use tollgate_admission::Demand;
use tollgate_core::{CloseReason, Event, Timings};

use crate::body::KeepAliveBody;
use crate::deadline::Deadline;
use crate::erased::ErasedBody;
use crate::error::{KeepAliveError, KeepAliveErrorKind};
use crate::lease::Lease;
use crate::origin_pool::OriginPool;
use crate::request::{self, Replay};
use crate::service::Owner;
use crate::waiting::acquire;

/// One call: what has to be remembered from one attempt to the next.
pub(crate) struct Call {
    /// A pool lives at least as long as the calls through it wait.
    _owner: Arc<Owner>,
    pool: Arc<OriginPool>,
    deadline: Option<Instant>,
    queued: Duration,
    attempts: u32,
    replayed: bool,
}

/// What an attempt that failed leaves to do.
enum After {
    Again(Request<ErasedBody>),
    Fail(KeepAliveErrorKind),
}

impl Call {
    pub(crate) fn new(owner: Arc<Owner>, pool: Arc<OriginPool>) -> Self {
        let queued = Duration::ZERO;
        Self {
            _owner: owner,
            pool,
            deadline: None,
            queued,
            attempts: 0,
            replayed: false,
        }
    }

    /// Carries the request through, on `lease` if the caller has one already.
    ///
    /// Cancel safe: a waiting call leaves the queue; an exchange in progress takes its connection
    /// with it, since HTTP/1 has no other way to stop; dials go on and serve others.
    pub(crate) async fn run(
        mut self,
        mut request: Request<ErasedBody>,
        lease: Option<Lease>,
    ) -> Result<Response<KeepAliveBody>, KeepAliveError> {
        self.deadline = request
            .extensions()
            .get::<Deadline>()
            .map(|deadline| deadline.instant());
        let mut lease = match lease {
            Some(lease) => lease,
            None => self.acquire().await?,
        };
        loop {
            self.attempts += 1;
            if lease.conn().io.unread() {
                lease.settle_pending_reads().await;
            }
            if lease.is_dead() {
                lease.failed(CloseReason::PeerEof);
                if self.attempts > self.pool.shared.config.retry.unsent {
                    return Err(self.error(KeepAliveErrorKind::ClosedBeforeSent));
                }
            } else {
                let replay = self.replay_of(&request, &lease);
                request::put_on_wire_form(&mut request, &self.pool.host);
                let tunnel = Tunnel::asked_by(&request);
                if tunnel != Tunnel::No {
                    lease.allow_tunnel();
                }
                match lease.send(request).await {
                    Ok(response) => return Ok(self.finish(response, lease, tunnel)),
                    Err(mut failure) => {
                        let unsent = failure.take_message();
                        let error = failure.into_error();
                        match self.after(&error, unsent, replay, lease) {
                            After::Again(again) => request = again,
                            After::Fail(kind) => return Err(self.error(kind).with_source(error)),
                        }
                    }
                }
            }
            self.pool.observe(|| Event::Retried {
                origin: &self.pool.origin,
                attempt: self.attempts + 1,
            });
            lease = self.acquire().await?;
        }
    }

    async fn acquire(&mut self) -> Result<Lease, KeepAliveError> {
        let demand = Demand::new()
            .hard_deadline(self.deadline)
            .retry(self.attempts > 0);
        let lease = acquire(&self.pool, demand).await?;
        self.queued += lease.waited();
        Ok(lease)
    }

    fn replay_of(&self, request: &Request<ErasedBody>, lease: &Lease) -> Option<Replay> {
        let may = self.pool.shared.config.retry.idempotent && !self.replayed && lease.is_reused();
        if may { Replay::of(request) } else { None }
    }

    /// Decides what follows from an attempt that failed, and gives the lease back.
    fn after(
        &mut self,
        error: &hyper::Error,
        unsent: Option<Request<ErasedBody>>,
        replay: Option<Replay>,
        lease: Lease,
    ) -> After {
        let lost = !error.is_parse() && !error.is_user();
        let silent = lost && !lease.conn().io.answered();
        let (reused, granted_at) = (lease.is_reused(), lease.granted_at());
        lease.failed(if silent {
            CloseReason::PeerEof
        } else {
            CloseReason::Error
        });
        if silent && reused {
            // Those that have idled at least as long are most likely dead too: they are closed rather
            // than tried one after the other.
            self.pool
                .retire_idle_until(granted_at, CloseReason::PeerEof);
        }
        match (unsent, replay) {
            (Some(request), _) if self.attempts <= self.pool.shared.config.retry.unsent => {
                After::Again(request)
            }
            (Some(_), _) => After::Fail(KeepAliveErrorKind::ClosedBeforeSent),
            (None, Some(replay)) if silent => {
                self.replayed = true;
                After::Again(replay.into_request())
            }
            (None, _) if lost => After::Fail(KeepAliveErrorKind::ClosedAfterSent),
            (None, _) => After::Fail(KeepAliveErrorKind::Exchange),
        }
    }

    fn finish(
        &self,
        response: Response<Incoming>,
        mut lease: Lease,
        tunnel: Tunnel,
    ) -> Response<KeepAliveBody> {
        lease.head_arrived(response.version(), response.headers());
        let mut timings = lease.timings();
        timings.queued = self.queued;
        timings.first_byte = Some(lease.granted_at().elapsed());
        timings.attempts = self.attempts;
        let lease = if tunnel.opened_by(response.status()) {
            lease.become_tunnel();
            None
        } else {
            Some(lease)
        };
        let copy = self
            .pool
            .shared
            .config
            .timings_in_extensions
            .then_some(timings);
        let mut response = response.map(|incoming| KeepAliveBody::new(incoming, lease, timings));
        if let Some(timings) = copy {
            response.extensions_mut().insert(timings);
        }
        response
    }

    fn error(&self, kind: KeepAliveErrorKind) -> KeepAliveError {
        let mut timings = Timings::default();
        timings.queued = self.queued;
        timings.attempts = self.attempts;
        KeepAliveError::new(kind, Some(self.pool.origin.clone())).with_timings(timings)
    }
}

/// How a request asks to leave HTTP.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tunnel {
    No,
    Upgrade,
    Connect,
}

impl Tunnel {
    fn asked_by(request: &Request<ErasedBody>) -> Self {
        if request.method() == Method::CONNECT {
            Self::Connect
        } else if request.headers().contains_key(http::header::UPGRADE) {
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
