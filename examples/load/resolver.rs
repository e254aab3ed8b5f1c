//! The resolver under every client: it really asks, each time, and counts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::vec;

use futures_util::future::BoxFuture;
use hyper_util::client::legacy::connect::dns::Name;
use tollgate_cached_dns::{Answer, Gai};
use tower::Service;
use tower::util::{MapResponse, ServiceExt};

use crate::BoxError;
use crate::nameserver;

/// Asks a nameserver, or the system; does not remember. Clones share the count.
#[derive(Clone, Debug)]
pub(crate) struct Resolver {
    source: Source,
    lookups: Arc<AtomicU64>,
}

#[derive(Clone, Debug)]
enum Source {
    Nameserver(SocketAddr),
    System(Gai),
}

/// The same resolver in the shape that hyper-util's `HttpConnector` takes.
pub(crate) type Addresses = MapResponse<Resolver, fn(Answer) -> vec::IntoIter<SocketAddr>>;

impl Resolver {
    pub(crate) fn nameserver(server: SocketAddr) -> Self {
        Self::over(Source::Nameserver(server))
    }

    pub(crate) fn system() -> Self {
        Self::over(Source::System(Gai::new()))
    }

    fn over(source: Source) -> Self {
        Self {
            source,
            lookups: Arc::default(),
        }
    }

    /// Returns the number of times that it was asked.
    pub(crate) fn lookups(&self) -> u64 {
        self.lookups.load(Relaxed)
    }

    pub(crate) fn addresses(&self) -> Addresses {
        self.clone().map_response(|answer| answer.addrs.into_iter())
    }
}

impl Service<Name> for Resolver {
    type Response = Answer;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Answer, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        self.lookups.fetch_add(1, Relaxed);
        match &mut self.source {
            Source::Nameserver(server) => {
                let server = *server;
                Box::pin(async move { nameserver::ask(server, name.as_str()).await })
            }
            Source::System(gai) => {
                let lookup = gai.call(name);
                Box::pin(async move { Ok(lookup.await?) })
            }
        }
    }
}
