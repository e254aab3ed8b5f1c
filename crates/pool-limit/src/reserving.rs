//! The other mode: the place is reserved in `poll_ready`.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tollgate_admission::{Demand, GateConfig, Refusal};
use tollgate_core::{BoxError, Observer, RefuseReason};
use tower_layer::Layer;
use tower_service::Service;

use crate::common::{Common, Watcher};
use crate::future::ReservedFuture;
use crate::handle::PoolLimitHandle;
use crate::limiter::Limiter;
use crate::release::{BodyEnd, PermitUntil};
use crate::slot::Admitted;
use crate::waiter::{PoolLimitPermit, Waiter};

/// Limits how many requests are in flight, and reserves the place in `poll_ready`.
///
/// Made by [`PoolLimitLayer::reserve_in_poll_ready`](crate::PoolLimitLayer::reserve_in_poll_ready).
/// What it costs is what it costs with tower's `ConcurrencyLimit`: **a clone that is ready holds a
/// place until it is called or dropped**, and one that has a place in the queue gets its turn
/// whether or not anybody polls it still. So do not keep polled clones: a turn that is not collected
/// goes to the next after 250 ms.
///
/// With `max_waiting` used up (at once with `no_queue`), `poll_ready` is pending without a place in
/// the queue: the caller is woken when a place falls free and then tries again, in no particular
/// order. That is the mode for a `LoadShed` above: what it sheds keeps no place.
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
            limiter: Arc::new(Limiter::new(self.config, common)),
            reservation: Reservation::None,
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
    limiter: Arc<Limiter<()>>,
    reservation: Reservation,
    until: PhantomData<fn() -> U>,
}

/// None -> Waiting | Watching | Held; Watching -> None; Waiting -> Held; Held -> None by the call.
enum Reservation {
    None,
    Waiting(Waiter),
    Watching(Watcher),
    Held(PoolLimitPermit),
}

impl<S, U> ReservingPoolLimit<S, U> {
    /// A handle on the limit: gauges, counters, changes, shutdown.
    pub fn handle(&self) -> PoolLimitHandle<()> {
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

    fn poll_reservation(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        loop {
            self.reservation = match &mut self.reservation {
                Reservation::Held(_) => return Poll::Ready(Ok(())),
                Reservation::None => match self.ask() {
                    Ok(reservation) => reservation,
                    Err(refusal) => return Poll::Ready(Err(self.error(&refusal))),
                },
                Reservation::Waiting(waiter) => match ready!(waiter.poll(cx)) {
                    Ok(permit) => Reservation::Held(permit),
                    Err(refusal) => {
                        // Its ticket is spent: polled once more the waiter would be pending for
                        // ever.
                        self.reservation = Reservation::None;
                        return Poll::Ready(Err(self.error(&refusal)));
                    }
                },
                Reservation::Watching(freed) => {
                    ready!(Pin::new(freed).poll(cx));
                    Reservation::None
                }
            };
        }
    }

    fn ask(&self) -> Result<Reservation, Refusal<Infallible>> {
        let slot = self.limiter.shared();
        match slot.admit(|_| Demand::new(), || None) {
            Admitted::Granted(permit) => Ok(Reservation::Held(permit)),
            Admitted::Waiting(waiter) => Ok(Reservation::Waiting(waiter)),
            Admitted::Refused(refusal) if refusal.reason == RefuseReason::QueueFull => {
                let watcher = self.limiter.common().watch();
                // A place that fell free before there was a watcher is noticed here.
                Ok(if slot.is_full() {
                    Reservation::Watching(watcher)
                } else {
                    Reservation::None
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
            reservation: Reservation::None,
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
    /// A [`PoolLimitError`](crate::PoolLimitError) of kind `Closed`, or that of the service below.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        ready!(self.poll_reservation(cx))?;
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    /// # Panics
    ///
    /// If `poll_ready` has not said that the service is ready since the last call.
    fn call(&mut self, request: Req) -> Self::Future {
        // Taken out before the call: a clone that is called has no place, also if the call panics.
        let Reservation::Held(permit) = std::mem::replace(&mut self.reservation, Reservation::None)
        else {
            panic!("a ReservingPoolLimit is called only after poll_ready said that it is ready");
        };
        ReservedFuture::new(self.inner.call(request), Some(permit))
    }
}

impl<S: fmt::Debug, U> fmt::Debug for ReservingPoolLimit<S, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.reservation {
            Reservation::None => "none",
            Reservation::Waiting(_) => "waiting",
            Reservation::Watching(_) => "watching",
            Reservation::Held(_) => "held",
        };
        f.debug_struct("ReservingPoolLimit")
            .field("inner", &self.inner)
            .field("place", &place)
            .finish_non_exhaustive()
    }
}
