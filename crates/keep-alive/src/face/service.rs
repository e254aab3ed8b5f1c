//! The pool as a service for all origins.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tollgate_core::{BoxError, CloseReason, Origin, Timer};
use tower_service::Service;

use crate::call::body::KeepAliveBody;
use crate::dial::ConnectorDialer;
use crate::dial::connector::Connector;
use crate::error::{KeepAliveError, KeepAliveErrorKind};
use crate::face::future::KeepAliveFuture;
use crate::face::origin_service::KeepAliveOrigin;
use crate::options::config::Config;
use crate::pool::hosts::HostsInUse;
use crate::pool::origin_pool::OriginPool;
use crate::pool::origins::Origins;
use crate::pool::owner::Owner;
use crate::pool::shared::{Shared, later};
use crate::pool::total::TotalLimit;
use crate::seen::detail::OriginDetail;
use crate::seen::stats::{OriginStats, Snapshot};

/// A connection pool: a `Service<Request<B>>` for any origin and any body type.
///
/// Made by [`KeepAliveLayer`](crate::KeepAliveLayer). Clones share the pool. It is always ready: its
/// queue is inside the call, so one busy origin does not hold up another. For back-pressure in
/// `poll_ready` take a service for one origin with [`origin`](Self::origin).
///
/// When the last clone, [`KeepAliveOrigin`] and waiting call is dropped, idle connections are closed at once;
/// exchanges in progress go on, and their connections are closed when they end.
#[derive(Clone)]
pub struct KeepAlive {
    owner: Arc<Owner>,
}

impl KeepAlive {
    /// A pool over `connector` with the defaults of [`KeepAliveLayer`](crate::KeepAliveLayer).
    pub fn new<C>(connector: C) -> Self
    where
        C: Connector,
    {
        Self::with_config(connector, Config::default(), None)
    }

    pub(crate) fn with_config<C>(connector: C, config: Config, total: Option<TotalLimit>) -> Self
    where
        C: Connector,
    {
        let origins = Arc::new(Origins::default());
        let dialer = Box::new(ConnectorDialer::new(connector));
        let shared = Shared::new(config, dialer, Arc::downgrade(&origins), total);
        let shared = Arc::new(shared);
        Self {
            owner: Arc::new(Owner { origins, shared }),
        }
    }

    /// A service for one origin, with back-pressure in `poll_ready`.
    ///
    /// # Errors
    ///
    /// If the origin's host cannot stand in a `Host` header.
    pub fn origin(&self, origin: &Origin) -> Result<KeepAliveOrigin, KeepAliveError> {
        Ok(KeepAliveOrigin::new(self.owner.clone(), self.meet(origin)?))
    }

    /// Opens connections to `origin` until `n` are open or opening, within the caps, and returns at
    /// once. They idle like any other. A dial that fails is not repeated.
    ///
    /// # Errors
    ///
    /// If the origin's host cannot stand in a `Host` header, or outside a tokio runtime.
    pub fn warm(&self, origin: &Origin, n: usize) -> Result<(), KeepAliveError> {
        let pool = self.meet(origin)?;
        let Ok(runtime) = Handle::try_current() else {
            return Err(KeepAliveError::new(
                KeepAliveErrorKind::NoRuntime,
                Some(origin.clone()),
            ));
        };
        pool.warm(n, &runtime)
    }

    fn meet(&self, origin: &Origin) -> Result<Arc<OriginPool>, KeepAliveError> {
        self.owner
            .origins
            .meet(origin, &self.owner.shared)
            .ok_or_else(|| {
                KeepAliveError::new(KeepAliveErrorKind::InvalidRequest, Some(origin.clone()))
            })
    }

    /// The state of one origin; `None` if the pool does not know it, which is also so a while after
    /// its last connection closed.
    pub fn stats(&self, origin: &Origin) -> Option<OriginStats> {
        self.owner.origins.get(origin).map(|pool| pool.stats())
    }

    /// The state of one origin and of each of its connections, read at one moment; `None` as in
    /// [`stats`](Self::stats). It takes the origin's lock for as long as it takes to copy them.
    pub fn detail(&self, origin: &Origin) -> Option<OriginDetail> {
        self.owner.origins.get(origin).map(|pool| pool.detail())
    }

    /// The state of all origins the pool knows, each read at one moment of its own.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(
            self.owner
                .origins
                .all()
                .iter()
                .map(|pool| pool.stats())
                .collect(),
        )
    }

    /// Changes the cap of one origin from now on. A higher one is used at once; under a lower one
    /// connections are closed as they fall idle.
    ///
    /// # Errors
    ///
    /// If the origin's host cannot stand in a `Host` header.
    pub fn set_max_connections(
        &self,
        origin: &Origin,
        max: NonZeroUsize,
    ) -> Result<(), KeepAliveError> {
        let pool = self.meet(origin)?;
        pool.set_limit(max);
        Ok(())
    }

    /// The host names to which there are connections or dials, as they come into use.
    pub fn hosts_in_use(&self) -> HostsInUse {
        self.owner.shared.hosts.watch()
    }

    pub(crate) fn origins_of(&self, host: &str) -> Vec<Arc<OriginPool>> {
        self.owner.shared.origins_of(host)
    }

    #[cfg(test)]
    pub(crate) fn all_origins(&self) -> Vec<Arc<OriginPool>> {
        self.owner.origins.all()
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.owner.shared
    }

    /// Closes every idle connection now. The pool stays in use.
    pub fn close_idle(&self) {
        for pool in self.owner.origins.all() {
            pool.retire_idle_until(Instant::now(), CloseReason::Shutdown);
        }
    }

    /// Ends the pool: refuses new requests and those that wait, closes idle connections, lets
    /// exchanges in progress finish for at most `limit`, then cuts those that remain. Returns how
    /// many it cut.
    ///
    /// After the future is dropped the pool still refuses, with nothing cut.
    pub async fn drain(&self, limit: Duration) -> usize {
        // First: with new work coming it might never be empty.
        self.owner.stop();
        let by = later(Instant::now(), limit);
        let _ended_or_not = Timer::until(by, self.owner.emptied()).await;
        self.owner.cut()
    }

    /// Ends the pool at once: [`drain`](Self::drain) without time for anybody. Returns how many
    /// exchanges it cut.
    pub fn close(&self) -> usize {
        self.owner.stop();
        self.owner.cut()
    }
}

impl<B> Service<Request<B>> for KeepAlive
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<KeepAliveBody>;
    type Error = KeepAliveError;
    type Future = KeepAliveFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), KeepAliveError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> KeepAliveFuture {
        let Owner { origins, shared } = &*self.owner;
        let Some(pool) = origins.of_uri(request.uri(), shared) else {
            let error = KeepAliveError::new(KeepAliveErrorKind::InvalidRequest, None);
            return KeepAliveFuture::refused(None, request.method(), Duration::ZERO, error);
        };
        KeepAliveFuture::of(request, &self.owner, &pool, None, Duration::ZERO)
    }
}

impl fmt::Debug for KeepAlive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeepAlive")
            .field("config", &self.owner.shared.config)
            .finish()
    }
}
