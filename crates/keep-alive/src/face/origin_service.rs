//! The pool as a service for one origin, with back-pressure.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response};
use http_body::Body;
use tollgate_admission::Demand;
use tollgate_core::{BoxError, NotEncrypted, Origin};
use tower_service::Service;

use crate::call::body::KeepAliveBody;
use crate::error::{KeepAliveError, KeepAliveErrorKind};
use crate::face::future::KeepAliveFuture;
use crate::pool::lease::Lease;
use crate::pool::origin_pool::OriginPool;
use crate::pool::owner::Owner;
use crate::pool::waiting::Waiting;

/// One origin of a [`KeepAlive`](crate::KeepAlive) pool, with back-pressure in `poll_ready`.
///
/// Ready means that a connection is reserved for this very instance until it is called or dropped,
/// so that `LoadShed`, `Balance` and `Buffer` above it see the queue. A ready instance that is kept
/// without being called keeps a connection from others. A clone reserves nothing.
///
/// `LoadShed` sheds whenever there is a wait, and a dial is one: [`warm`](crate::KeepAlive::warm) an
/// origin first. An instance that was shed and is kept, stays in the queue; with `max_waiting(0)`
/// there is none to stay in.
///
/// Requests go to this origin whatever their URI says: its path is what counts. The exception is an
/// `https` URI for an `http` origin, which is refused as
/// [`InvalidRequest`](crate::KeepAliveErrorKind::InvalidRequest): it would go out in clear text.
///
/// A wait in `poll_ready` is in the span of the call's first attempt. It is not in the call's
/// [`Timings`](tollgate_core::Timings), which begin with the call: who waits for readiness measures that.
///
/// `poll_ready` never fails, since an error from it would mean that the service is done for; what
/// went wrong is told by the next call.
pub struct KeepAliveOrigin {
    owner: Arc<Owner>,
    pool: Arc<OriginPool>,
    /// What `poll_ready` has reserved.
    ready: Option<Lease>,
    /// How long it has waited for that.
    waited: Duration,
    state: State,
}

/// Idle → Waiting → Idle, with a lease; either → Failed. All by `poll_ready`; `call` takes what there is.
enum State {
    Idle,
    Waiting(Pin<Box<Waiting>>),
    Failed(KeepAliveError),
}

impl KeepAliveOrigin {
    pub(crate) fn new(owner: Arc<Owner>, pool: Arc<OriginPool>) -> Self {
        Self {
            owner,
            pool,
            ready: None,
            waited: Duration::ZERO,
            state: State::Idle,
        }
    }

    /// The origin.
    pub fn origin(&self) -> &Origin {
        &self.pool.origin
    }
}

impl Clone for KeepAliveOrigin {
    /// A service for the same origin that has reserved nothing.
    fn clone(&self) -> Self {
        Self::new(self.owner.clone(), self.pool.clone())
    }
}

impl<B> Service<Request<B>> for KeepAliveOrigin
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<KeepAliveBody>;
    type Error = KeepAliveError;
    type Future = KeepAliveFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), KeepAliveError>> {
        // One that died while it was reserved is replaced.
        self.ready.take_if(|lease| lease.is_dead());
        while self.ready.is_none() {
            match &mut self.state {
                State::Idle => match self.pool.demand_into(Demand::new(), &mut self.ready) {
                    Ok(None) => {}
                    Ok(Some(place)) => {
                        self.state = State::Waiting(Box::pin(Waiting::new(place, 0)));
                    }
                    Err(error) => self.state = State::Failed(error),
                },
                State::Waiting(waiting) => match ready!(waiting.as_mut().poll(cx)) {
                    Ok((lease, waited)) => {
                        self.ready = Some(lease);
                        self.waited += waited;
                        self.state = State::Idle;
                    }
                    Err(error) => self.state = State::Failed(error),
                },
                State::Failed(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> KeepAliveFuture {
        let waited = mem::take(&mut self.waited);
        if let State::Failed(_) = self.state
            && let State::Failed(error) = mem::replace(&mut self.state, State::Idle)
        {
            let origin = Some(&self.pool.origin);
            return KeepAliveFuture::refused(origin, request.method(), waited, error);
        }
        if request.uri().scheme() == Some(&Scheme::HTTPS) && self.origin().scheme() != "https" {
            // The reservation was for this call: kept, it would keep a connection from others.
            self.ready = None;
            let origin = &self.pool.origin;
            let error =
                KeepAliveError::new(KeepAliveErrorKind::InvalidRequest, Some(origin.clone()))
                    .with_source(NotEncrypted::new("the URI is https and its origin is http"));
            return KeepAliveFuture::refused(Some(origin), request.method(), waited, error);
        }
        // Called without being ready, which breaks Tower's contract, it waits inside the call.
        self.state = State::Idle;
        let mut lease = self.ready.take();
        if let Some(lease) = &mut lease {
            // The peer may have closed it since: the kernel is asked once more.
            lease.was_held();
        }
        KeepAliveFuture::of(request, &self.owner, &self.pool, lease, waited)
    }
}

impl fmt::Debug for KeepAliveOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeepAliveOrigin")
            .field("origin", &self.pool.origin)
            .field("ready", &self.ready.is_some())
            .finish_non_exhaustive()
    }
}
