//! A backend that says what a test wants, and counts how often it was asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper_util::client::legacy::connect::dns::Name;
use tollgate_cached_dns::{Addrs, Answer, CachedDns, CachedDnsLayer, LookupError, LookupErrorKind};
use tower_service::Service;

pub(crate) type Said = Result<Answer, LookupError>;

type Script = dyn Fn(String, usize) -> BoxFuture<'static, Said> + Send + Sync;

/// Asked for the `n`-th time, counted from 0, it says `script(name, n)`.
#[derive(Clone)]
pub(crate) struct Backend {
    script: Arc<Script>,
    calls: Arc<AtomicUsize>,
}

impl Backend {
    pub(crate) fn new<F, R>(script: F) -> Self
    where
        F: Fn(String, usize) -> R + Send + Sync + 'static,
        R: Future<Output = Said> + Send + 'static,
    {
        Self {
            script: Arc::new(move |name, nth| Box::pin(script(name, nth))),
            calls: Arc::default(),
        }
    }

    /// Says the same each time, after `delay`.
    pub(crate) fn steady(delay: Duration, ttl: u64, addrs: &'static [&'static str]) -> Self {
        Self::new(move |_, _| async move {
            tokio::time::sleep(delay).await;
            Ok(answer(ttl, addrs))
        })
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }

    pub(crate) fn cached(&self) -> CachedDns<Self> {
        self.cached_with(|layer| layer)
    }

    /// Without jitter, so that tests can tell the time.
    pub(crate) fn cached_with(
        &self,
        options: impl FnOnce(CachedDnsLayer) -> CachedDnsLayer,
    ) -> CachedDns<Self> {
        options(CachedDnsLayer::new().jitter(false)).cached(self.clone())
    }
}

impl Service<Name> for Backend {
    type Response = Answer;
    type Error = LookupError;
    type Future = BoxFuture<'static, Said>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LookupError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        (self.script)(name.as_str().to_owned(), self.calls.fetch_add(1, SeqCst))
    }
}

/// `127.0.0.1` or `::1`, with port 0.
pub(crate) fn addr(addr: &str) -> SocketAddr {
    SocketAddr::new(addr.parse().unwrap(), 0)
}

pub(crate) fn answer(ttl: u64, addrs: &[&str]) -> Answer {
    Answer::new(addrs.iter().map(|a| addr(a))).ttl(secs(ttl))
}

pub(crate) fn not_found(ttl: Option<Duration>) -> LookupError {
    LookupError::new(LookupErrorKind::NotFound { ttl })
}

pub(crate) fn transient() -> LookupError {
    LookupError::new(LookupErrorKind::Transient)
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Looks `name` up.
pub(crate) async fn lookup<S>(dns: &S, name: &str) -> Result<Addrs, LookupError>
where
    S: Service<Name, Response = Addrs, Error = LookupError> + Clone,
{
    dns.clone().call(name.parse().unwrap()).await
}

/// The addresses of `name`, sorted.
pub(crate) async fn addrs<S>(dns: &S, name: &str) -> Vec<String>
where
    S: Service<Name, Response = Addrs, Error = LookupError> + Clone,
{
    let found = lookup(dns, name).await.unwrap();
    let mut found: Vec<_> = found.map(|addr| addr.ip().to_string()).collect();
    found.sort();
    found
}

/// Lets spawned tasks run until they wait for the clock.
pub(crate) async fn settle() {
    for _ in 0..32 {
        tokio::task::yield_now().await;
    }
}
