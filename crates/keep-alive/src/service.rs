//! The pool as a service for all origins.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::Body;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::Connection;
use tokio::time::{Instant, timeout};
use tollgate_core::{BoxError, CloseReason, Origin};
use tower_service::Service;

use crate::body::KeepAliveBody;
use crate::config::Config;
use crate::connections::OriginDetail;
use crate::dial::ConnectorDialer;
use crate::erased::ErasedBody;
use crate::error::{KeepAliveError, KeepAliveErrorKind};
use crate::exchange::Call;
use crate::future::KeepAliveFuture;
use crate::origin_pool::OriginPool;
use crate::origin_service::KeepAliveOrigin;
use crate::origins::Origins;
use crate::owner::Owner;
use crate::shared::Shared;
use crate::stats::{OriginStats, Snapshot};

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
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Read + Write + Connection + Unpin + Send + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send + 'static,
    {
        Self::with_config(connector, Config::default())
    }

    pub(crate) fn with_config<C>(connector: C, config: Config) -> Self
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Read + Write + Connection + Unpin + Send + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send + 'static,
    {
        let origins = Arc::new(Origins::default());
        let dialer = Box::new(ConnectorDialer(connector));
        let shared = Arc::new(Shared::new(config, dialer, Arc::downgrade(&origins)));
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
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(KeepAliveError::new(
                KeepAliveErrorKind::NoRuntime,
                Some(origin.clone()),
            ));
        }
        pool.with(|inner| inner.engine.warm(n));
        crate::dial::start(&pool);
        Ok(())
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

    pub(crate) fn all_origins(&self) -> Vec<Arc<OriginPool>> {
        self.owner.origins.all()
    }

    /// Retires the connections to `address`: idle ones now, the others when their exchange is over.
    /// For when an address has left the DNS answer.
    pub fn retire(&self, address: std::net::IpAddr) {
        for pool in self.owner.origins.all() {
            pool.retire(CloseReason::AddressGone, |conn| {
                conn.dial
                    .remote
                    .is_some_and(|remote| remote.ip() == address)
            });
        }
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
    /// Dropping the future leaves the pool refusing, with nothing cut.
    pub async fn drain(&self, limit: Duration) -> usize {
        self.owner.stop();
        let _ended_or_not = timeout(limit, self.owner.emptied()).await;
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
        let call = Call::new(self.owner.clone());
        let mut request = Some(request.map(ErasedBody::new));
        KeepAliveFuture::new(call, &pool, &mut request, None, Duration::ZERO)
    }
}

impl fmt::Debug for KeepAlive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeepAlive")
            .field("config", &self.owner.shared.config)
            .finish()
    }
}
