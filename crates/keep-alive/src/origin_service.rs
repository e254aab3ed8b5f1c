//! The pool as a service for one origin, with back-pressure.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tollgate_admission::Demand;
use tollgate_core::{BoxError, Origin};
use tower_service::Service;

use crate::body::KeepAliveBody;
use crate::erased::ErasedBody;
use crate::error::KeepAliveError;
use crate::exchange::Call;
use crate::future::KeepAliveFuture;
use crate::lease::Lease;
use crate::origin_pool::{Demanded, OriginPool};
use crate::service::Owner;
use crate::waiting::Waiting;

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
/// Requests go to this origin whatever their URI says: its path is what counts.
///
/// `poll_ready` never fails, since an error from it would mean that the service is done for; what
/// went wrong is told by the next call.
pub struct KeepAliveOrigin {
    owner: Arc<Owner>,
    pool: Arc<OriginPool>,
    state: State,
}

/// Idle → Waiting → Ready, by `poll_ready`; back to Idle by `call`.
enum State {
    Idle,
    Waiting(Pin<Box<Waiting>>),
    Ready(Lease),
    Failed(KeepAliveError),
}

impl KeepAliveOrigin {
    pub(crate) fn new(owner: Arc<Owner>, pool: Arc<OriginPool>) -> Self {
        Self {
            owner,
            pool,
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
        loop {
            self.state = match &mut self.state {
                // One that died while it was reserved is replaced.
                State::Ready(lease) if lease.is_dead() => State::Idle,
                State::Ready(_) | State::Failed(_) => return Poll::Ready(Ok(())),
                State::Idle => match self.pool.demand(Demand::new()) {
                    Ok(Demanded::Lease(lease)) => State::Ready(lease),
                    Ok(Demanded::Wait(ticket)) => {
                        State::Waiting(Box::pin(Waiting::new(self.pool.clone(), ticket)))
                    }
                    Err(error) => State::Failed(error),
                },
                State::Waiting(waiting) => match waiting.as_mut().poll(cx) {
                    Poll::Ready(Ok(lease)) => State::Ready(lease),
                    Poll::Ready(Err(error)) => State::Failed(error),
                    Poll::Pending => return Poll::Pending,
                },
            };
        }
    }

    fn call(&mut self, request: Request<B>) -> KeepAliveFuture {
        let call = Call::new(self.owner.clone(), self.pool.clone());
        let request = request.map(ErasedBody::new);
        match mem::replace(&mut self.state, State::Idle) {
            State::Ready(lease) => KeepAliveFuture::new(call, request, Some(lease)),
            State::Failed(error) => KeepAliveFuture::failed(error),
            // Called without being ready, which breaks Tower's contract: it waits inside the call.
            State::Idle | State::Waiting(_) => KeepAliveFuture::new(call, request, None),
        }
    }
}

impl fmt::Debug for KeepAliveOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ready = matches!(self.state, State::Ready(_));
        f.debug_struct("KeepAliveOrigin")
            .field("origin", &self.pool.origin)
            .field("ready", &ready)
            .finish_non_exhaustive()
    }
}
