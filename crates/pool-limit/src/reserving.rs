//! The other mode: the place is reserved in `poll_ready`.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tollgate_admission::{GateConfig, Refusal};
use tollgate_core::{BoxError, Observer, RefuseReason};
use tower_layer::Layer;
use tower_service::Service;

use crate::common::{Common, Watcher};
use crate::future::ReservedFuture;
use crate::handle::PoolLimitHandle;
use crate::keys::WholeService;
use crate::limiter::Limiter;
use crate::release::{BodyEnd, PermitUntil};
use crate::slot::Admitted;
use crate::waiter::{PoolLimitPermit, Waiter};

/// Limits how many requests are in flight, and reserves the place in `poll_ready`.
///
/// Made by [`PoolLimitLayer::reserve_in_poll_ready`](crate::PoolLimitLayer::reserve_in_poll_ready).
/// What it costs is what it costs with tower's `ConcurrencyLimit`: **a clone that is ready holds a
/// place until it is called or dropped**, and one that has a place in the queue gets its turn
/// whether or not anybody polls it still. So do not keep polled clones.
///
/// With `max_waiting` used up (at once with `no_queue`), `poll_ready` is pending without a place in
/// the queue: the caller is woken when a place falls free and then tries again, in no particular
/// order. That is the mode for a `LoadShed` above: what it sheds leaves nothing behind.
///
/// A wait in `poll_ready` has no deadline, since an error there ends the service for `Buffer` and
/// `Balance`; the deadline is the caller's.
#[derive(Clone)]
pub struct ReservingPoolLimitLayer<U = BodyEnd> {
    config: GateConfig,
    observer: Option<Arc<dyn Observer>>,
    until: PhantomData<fn() -> U>,
}

impl<U> ReservingPoolLimitLayer<U> {
    pub(crate) const fn new(config: GateConfig, observer: Option<Arc<dyn Observer>>) -> Self {
        Self {
            config,
            observer,
            until: PhantomData,
        }
    }
}

impl<S, U> Layer<S> for ReservingPoolLimitLayer<U> {
    type Service = ReservingPoolLimit<S, U>;

    fn layer(&self, inner: S) -> Self::Service {
        let common = Common::new(self.observer.clone());
        ReservingPoolLimit {
            inner,
            limiter: Arc::new(Limiter::new(WholeService, self.config, common)),
            place: Place::None,
            until: PhantomData,
        }
    }
}

impl<U> fmt::Debug for ReservingPoolLimitLayer<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReservingPoolLimitLayer")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// A service with a limit on the requests in flight, whose readiness is a place; made by
/// [`ReservingPoolLimitLayer`].
///
/// Clones share the limit. A clone begins without a place, whatever the original has.
pub struct ReservingPoolLimit<S, U = BodyEnd> {
    inner: S,
    limiter: Arc<Limiter<WholeService>>,
    place: Place,
    until: PhantomData<fn() -> U>,
}

/// None -> Waiting | Watching | Held; Watching -> None; Waiting -> Held; Held -> None by the call.
enum Place {
    None,
    Waiting(Waiter),
    Watching(Watcher),
    Held(PoolLimitPermit),
}

impl<S, U> ReservingPoolLimit<S, U> {
    /// A handle on the limit: gauges, counters, changes, shutdown.
    pub fn handle(&self) -> PoolLimitHandle<WholeService> {
        PoolLimitHandle::new(Arc::clone(&self.limiter))
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

    fn poll_place(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        loop {
            self.place = match &mut self.place {
                Place::Held(_) => return Poll::Ready(Ok(())),
                Place::None => match self.ask() {
                    Ok(place) => place,
                    Err(refusal) => return Poll::Ready(Err(self.error(&refusal))),
                },
                Place::Waiting(waiter) => match ready!(waiter.poll(cx)) {
                    Ok(permit) => Place::Held(permit),
                    Err(refusal) => {
                        self.place = Place::None;
                        return Poll::Ready(Err(self.error(&refusal)));
                    }
                },
                Place::Watching(freed) => {
                    ready!(Pin::new(freed).poll(cx));
                    Place::None
                }
            };
        }
    }

    fn ask(&self) -> Result<Place, Refusal<Infallible>> {
        let slot = self.limiter.shared();
        match slot.admit(|| None) {
            Admitted::Granted(permit) => Ok(Place::Held(permit)),
            Admitted::Waiting(waiter) => Ok(Place::Waiting(waiter)),
            Admitted::Refused(refusal) if refusal.reason == RefuseReason::Full => {
                let watcher = self.limiter.common().watch();
                // A place that fell free before there was a watcher is noticed here.
                Ok(if slot.is_full() {
                    Place::Watching(watcher)
                } else {
                    Place::None
                })
            }
            Admitted::Refused(refusal) => Err(refusal),
        }
    }

    fn error(&self, refusal: &Refusal<Infallible>) -> BoxError {
        self.limiter.shared().error(refusal, || None)
    }
}

impl<S: Clone, U> Clone for ReservingPoolLimit<S, U> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            limiter: Arc::clone(&self.limiter),
            place: Place::None,
            until: PhantomData,
        }
    }
}

impl<S, U, Req> Service<Req> for ReservingPoolLimit<S, U>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    U: PermitUntil<S::Response>,
{
    type Response = U::Response;
    type Error = BoxError;
    type Future = ReservedFuture<S::Future, U>;

    /// # Errors
    ///
    /// [`Closed`](crate::Closed), or that of the service below.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        ready!(self.poll_place(cx))?;
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    /// # Panics
    ///
    /// If `poll_ready` has not said that the service is ready since the last call.
    fn call(&mut self, request: Req) -> Self::Future {
        let Place::Held(permit) = std::mem::replace(&mut self.place, Place::None) else {
            panic!("a ReservingPoolLimit is called only after poll_ready said that it is ready");
        };
        ReservedFuture::new(self.inner.call(request), Some(permit))
    }
}

impl<S: fmt::Debug, U> fmt::Debug for ReservingPoolLimit<S, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.place {
            Place::None => "none",
            Place::Waiting(_) => "waiting",
            Place::Watching(_) => "watching",
            Place::Held(_) => "held",
        };
        f.debug_struct("ReservingPoolLimit")
            .field("inner", &self.inner)
            .field("place", &place)
            .finish_non_exhaustive()
    }
}
