//! The service that waits in the call.

use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use tollgate_core::{BoxError, HasOrigin, Origin};
use tower_service::Service;

use crate::future::PoolLimitFuture;
use crate::handle::PoolLimitHandle;
use crate::keys::{Keyed, LimitBy, PerOrigin};
use crate::release::{BodyEnd, PermitUntil};

/// A service with a limit on the requests in flight; made by
/// [`PoolLimitLayer`](crate::PoolLimitLayer).
///
/// It is always ready: requests wait inside the call, in the order in which their futures were
/// first polled. Clones share the limits.
#[derive(Debug)]
pub struct PoolLimit<S, K = Keyed<Origin, PerOrigin>, U = BodyEnd> {
    inner: S,
    limits: K,
    until: PhantomData<fn() -> U>,
}

impl<S, Q, F, U> PoolLimit<S, Keyed<Q, F>, U> {
    /// A handle on the limits: gauges, counters, changes, shutdown.
    pub fn handle(&self) -> PoolLimitHandle<Q> {
        PoolLimitHandle::new(Arc::clone(self.limits.limiter()))
    }
}

impl<S, K, U> PoolLimit<S, K, U> {
    pub(crate) const fn new(inner: S, limits: K) -> Self {
        Self {
            inner,
            limits,
            until: PhantomData,
        }
    }

    /// The service below.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service below, to change it.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service below, without the limit.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Clone, K: Clone, U> Clone for PoolLimit<S, K, U> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.limits.clone())
    }
}

impl<S, K, U, Req> Service<Req> for PoolLimit<S, K, U>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    K: LimitBy<Req>,
    U: PermitUntil<S::Response>,
    Req: HasOrigin,
{
    type Response = U::Response;
    type Error = BoxError;
    type Future = PoolLimitFuture<S, Req, U>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        // A clone of the service has to make itself ready: this one's readiness stays here.
        let slot = self.limits.slot_of(&request);
        PoolLimitFuture::new(slot, self.inner.clone(), request)
    }
}
