//! The service.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::Name;
use tollgate_core::BoxError;
use tower_service::Service;

use crate::addresses::addrs::Addrs;
use crate::addresses::answer::IntoAnswer;
use crate::cache::config::Config;
use crate::cache::probe::Probe;
use crate::outside::backend::Gai;
use crate::outside::engine::{AnyEngine, Engine, probe};
use crate::outside::future::CachedDnsFuture;
use crate::outside::handle::DnsHandle;
use crate::outside::layer::CachedDnsLayer;
use crate::values::error::LookupError;

/// A resolver that caches the answers of the backend `B`. Made by
/// [`CachedDnsLayer`](crate::CachedDnsLayer).
///
/// It is a `Service<Name>` as hyper-util's `HttpConnector` takes it, always ready; clones share
/// the cache. Lookups need a tokio runtime with its timer enabled, and run in tasks of their own.
pub struct CachedDns<B> {
    engine: Arc<Engine<B>>,
}

impl<B> CachedDns<B> {
    pub(crate) fn new(config: Config, backend: B) -> Self {
        Self {
            engine: Arc::new(Engine::new(config, backend)),
        }
    }

    /// The backend.
    pub fn get_ref(&self) -> &B {
        &self.engine.backend
    }

    /// A clone of the backend; the cache may be shared with other clones.
    pub fn into_inner(self) -> B
    where
        B: Clone,
    {
        self.engine.backend.clone()
    }
}

impl CachedDns<Gai> {
    /// The system's resolver with a cache of the default options.
    pub fn gai() -> Self {
        CachedDnsLayer::new().cached(Gai::new())
    }
}

#[cfg(feature = "hickory")]
impl CachedDns<crate::outside::backend::Hickory> {
    /// The system's nameservers, asked by hickory, with a cache of the default options.
    ///
    /// # Errors
    ///
    /// If the system's configuration cannot be read or names no nameserver.
    pub fn hickory() -> Result<Self, crate::outside::backend::HickoryError> {
        Ok(CachedDnsLayer::new().cached(crate::outside::backend::Hickory::system()?))
    }
}

impl<B> CachedDns<B>
where
    B: Service<Name> + Clone + Send + Sync + 'static,
    B::Response: IntoAnswer,
    B::Error: Into<BoxError>,
    B::Future: Send,
{
    /// A handle to the cache, for everything that is not a lookup.
    pub fn handle(&self) -> DnsHandle {
        DnsHandle::new(self.erased())
    }

    fn erased(&self) -> Arc<AnyEngine> {
        Arc::clone(&self.engine) as Arc<AnyEngine>
    }
}

impl<B> Service<Name> for CachedDns<B>
where
    B: Service<Name> + Clone + Send + Sync + 'static,
    B::Response: IntoAnswer,
    B::Error: Into<BoxError>,
    B::Future: Send,
{
    type Response = Addrs;
    type Error = LookupError;
    type Future = CachedDnsFuture;

    /// Always ready: hyper-util polls one clone and calls another, so a place taken here would be
    /// lost.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LookupError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> CachedDnsFuture {
        match probe(&self.engine, name.as_str()) {
            // The hit path has no use for the engine: a clone of its `Arc` writes to a line that
            // all cores share.
            (Probe::Done(served), _) if !served.wants_engine() => {
                self.engine.observe_cache(name.as_str(), served.event);
                CachedDnsFuture::ready(served.result)
            }
            (Probe::Done(served), _) => self.erased().finish(name.as_str(), served),
            (Probe::Ask { stale }, now) => self.erased().wait(name.as_str(), stale, now),
        }
    }
}

impl<B> Clone for CachedDns<B> {
    fn clone(&self) -> Self {
        Self {
            engine: Arc::clone(&self.engine),
        }
    }
}

impl<B: fmt::Debug> fmt::Debug for CachedDns<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedDns")
            .field("config", &self.engine.cache.config)
            .field("backend", &self.engine.backend)
            .finish()
    }
}
