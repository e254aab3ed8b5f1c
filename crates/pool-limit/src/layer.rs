//! The layer and its options.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use tollgate_admission::{Discipline, GateConfig};
use tollgate_core::{Observer, Origin};
use tower_layer::Layer;

use crate::common::Common;
use crate::error::ZeroLimit;
use crate::keys::{Keyed, PerKey, PerOrigin, WholeService};
use crate::limiter::Limiter;
use crate::release::{BodyEnd, Head};
use crate::reserving::ReservingPoolLimitLayer;
use crate::service::PoolLimit;

/// Limits how many requests are in flight.
///
/// Each call of [`layer`](Layer::layer) makes limits of their own, which the clones of that service
/// share.
///
/// ```
/// # use std::time::Duration;
/// # use tollgate_pool_limit::PoolLimitLayer;
/// let limit = PoolLimitLayer::per_origin(64)?
///     .max_waiting(256)
///     .acquire_timeout(Duration::from_secs(1));
/// # Ok::<_, tollgate_pool_limit::ZeroLimit>(())
/// ```
pub struct PoolLimitLayer<Q = Origin, F = PerOrigin, U = BodyEnd> {
    rule: F,
    types: PhantomData<fn() -> (Q, U)>,
    config: GateConfig,
    observer: Option<Arc<dyn Observer>>,
}

impl PoolLimitLayer {
    /// At most `limit` in flight to each origin; requests that do not say where they go, as those
    /// of tonic's generated clients, share one limit.
    ///
    /// # Errors
    ///
    /// [`ZeroLimit`] if `limit` is 0.
    pub fn per_origin(limit: usize) -> Result<Self, ZeroLimit> {
        Self::new(PerOrigin, limit)
    }
}

impl<Q, F> PoolLimitLayer<Q, PerKey<F>> {
    /// At most `limit` in flight for each key that `key_of` makes of a request: a tenant, a path.
    ///
    /// The key's `Hash` and `Eq` run under a lock: they must not call the service.
    ///
    /// ```
    /// # use tollgate_pool_limit::PoolLimitLayer;
    /// PoolLimitLayer::per_key(8, |request: &http::Request<()>| {
    ///     request.headers().get("x-tenant").cloned()
    /// })?;
    /// # Ok::<_, tollgate_pool_limit::ZeroLimit>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ZeroLimit`] if `limit` is 0.
    pub fn per_key<Req>(limit: usize, key_of: F) -> Result<Self, ZeroLimit>
    where
        F: Fn(&Req) -> Q,
    {
        Self::new(PerKey::new(key_of), limit)
    }
}

impl PoolLimitLayer<(), WholeService> {
    /// At most `limit` in flight in all.
    ///
    /// # Errors
    ///
    /// [`ZeroLimit`] if `limit` is 0.
    pub fn whole_service(limit: usize) -> Result<Self, ZeroLimit> {
        Self::new(WholeService, limit)
    }
}

impl<Q, F> PoolLimitLayer<Q, F> {
    fn new(rule: F, limit: usize) -> Result<Self, ZeroLimit> {
        Ok(Self {
            rule,
            types: PhantomData,
            config: GateConfig::new(ZeroLimit::check(limit)?),
            observer: None,
        })
    }

    /// Gives a place back when the response's head has arrived, not when its body has ended.
    ///
    /// For services whose responses have no body, or where the body costs the peer nothing.
    #[must_use]
    pub fn release_at_head(self) -> PoolLimitLayer<Q, F, Head> {
        PoolLimitLayer {
            rule: self.rule,
            types: PhantomData,
            config: self.config,
            observer: self.observer,
        }
    }
}

impl<Q, F, U> PoolLimitLayer<Q, F, U> {
    /// Sets the number that may wait for each key. 0 means never to queue. Default: 1,024, Envoy's
    /// `max_pending_requests`.
    #[must_use]
    pub const fn max_waiting(mut self, max_waiting: usize) -> Self {
        self.config.max_waiting = max_waiting;
        self
    }

    /// Refuses at once what finds no place: `max_waiting(0)`.
    #[must_use]
    pub const fn no_queue(self) -> Self {
        self.max_waiting(0)
    }

    /// The time that each request may wait. Default: 3 s, linkerd's failfast timeout.
    #[must_use]
    pub const fn acquire_timeout(mut self, timeout: Duration) -> Self {
        self.config.acquire_timeout = timeout;
        self
    }

    /// Keeps the order first in, first out even while callers leave in numbers. Default: adaptive, see
    /// [`Discipline`].
    #[must_use]
    pub const fn discipline(mut self, discipline: Discipline) -> Self {
        self.config.discipline = discipline;
        self
    }

    /// Reports to `observer` each request queued, granted, refused and released. Default: none, and
    /// nothing is spent on it.
    ///
    /// Requests that do not say where they go are reported under the origin
    /// [`UNKNOWN_ORIGIN`](crate::UNKNOWN_ORIGIN).
    #[must_use]
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }
}

impl<U> PoolLimitLayer<(), WholeService, U> {
    /// Waits for the place in `poll_ready`, not in the call: for [`LoadShed`], [`Balance`] and
    /// [`Buffer`] above, which act on readiness. See [`ReservingPoolLimitLayer`] for what it costs.
    ///
    /// The acquire timeout does not apply there.
    ///
    /// [`LoadShed`]: https://docs.rs/tower/latest/tower/load_shed/index.html
    /// [`Balance`]: https://docs.rs/tower/latest/tower/balance/index.html
    /// [`Buffer`]: https://docs.rs/tower/latest/tower/buffer/index.html
    #[must_use]
    pub fn reserve_in_poll_ready(self) -> ReservingPoolLimitLayer<U> {
        // A wait in `poll_ready` has no error to end with but one that ends the service.
        let config = self.config.acquire_timeout(Duration::MAX);
        ReservingPoolLimitLayer::new(config, self.observer)
    }
}

impl<S, Q, F: Clone, U> Layer<S> for PoolLimitLayer<Q, F, U> {
    type Service = PoolLimit<S, Keyed<Q, F>, U>;

    fn layer(&self, inner: S) -> Self::Service {
        let common = Common::new(self.observer.clone());
        let limiter = Arc::new(Limiter::new(self.config, common));
        PoolLimit::new(inner, Keyed::new(limiter, self.rule.clone()))
    }
}

impl<Q, F: Clone, U> Clone for PoolLimitLayer<Q, F, U> {
    fn clone(&self) -> Self {
        Self {
            rule: self.rule.clone(),
            types: PhantomData,
            config: self.config,
            observer: self.observer.clone(),
        }
    }
}

impl<Q, F: fmt::Debug, U> fmt::Debug for PoolLimitLayer<Q, F, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolLimitLayer")
            .field("rule", &self.rule)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
