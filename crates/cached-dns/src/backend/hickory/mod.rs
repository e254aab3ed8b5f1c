//! hickory, one resolver a nameserver.

mod builder;
mod failover;
mod family;
mod route;
mod server;
mod setup;
mod watched;

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

pub use builder::{HickoryBuilder, HickoryError};

use self::family::resolve;
use self::setup::{Candidates, Setup};
use self::watched::Watched;
use crate::answer::Answer;
use crate::error::{LookupError, LookupErrorKind};
use crate::hosts::StaticHosts;

/// Asks nameservers itself, over UDP and TCP, with `hickory-resolver`.
///
/// What the answers' TTLs say is known here, which [`Gai`](crate::Gai) cannot tell. The hosts file,
/// the search list and `ndots` work as in the C library; `nsswitch.conf` and `gai.conf` are not
/// read. Differences from a plain `hickory_resolver::Resolver`:
///
/// * a family that is not answered costs 50 ms and not 15 s: A and AAAA are asked for apart, and
///   the late one joins the cached answer when it comes;
/// * a server that fails (SERVFAIL, REFUSED, silence, garbage) is passed over: the next one is asked
///   at once, or after 300 ms without an answer, and the failing one goes last for a while;
/// * the search list is walked on "no such name" only, not when a server fails;
/// * `resolv.conf` and the hosts file are read again when they change;
/// * a name in the hosts file is answered from there for both families.
///
/// There is no fallback to public resolvers. Clones share everything.
#[derive(Clone)]
pub struct Hickory {
    shared: Arc<Shared>,
}

struct Shared {
    setup: Source<Setup>,
    hosts: Option<Watched<StaticHosts>>,
    options: Options,
}

enum Source<T> {
    Fixed(Arc<T>),
    /// A file that may change.
    File(Watched<T>),
}

#[derive(Clone, Debug)]
struct Options {
    timeout: Duration,
    hedge: Duration,
    resolution_delay: Duration,
    late_limit: Duration,
    absolute_names: bool,
    case_randomization: bool,
    ipv6_first: Option<bool>,
}

/// What the hosts file says is asked for again this soon.
const HOSTS_TTL: Duration = Duration::from_secs(5);

impl Hickory {
    /// With the nameservers, search list and hosts file of the system.
    ///
    /// # Errors
    ///
    /// If the system's configuration cannot be read or names no nameserver.
    pub fn system() -> Result<Self, HickoryError> {
        Self::builder().build()
    }

    /// With these nameservers, no search list, and the hosts file of the system.
    ///
    /// # Errors
    ///
    /// If there are none.
    pub fn with_nameservers(
        servers: impl IntoIterator<Item = SocketAddr>,
    ) -> Result<Self, HickoryError> {
        Self::builder().nameservers(servers).build()
    }

    /// To set more.
    pub fn builder() -> HickoryBuilder {
        HickoryBuilder::new()
    }
}

impl Shared {
    async fn lookup(&self, host: &str) -> Result<Answer, LookupError> {
        if let Some(hosts) = &self.hosts
            && let Some(addrs) = hosts.current().await.get(host)
        {
            return Ok(Answer::new(addrs.iter().copied()).ttl(HOSTS_TTL));
        }
        let setup = match &self.setup {
            Source::Fixed(setup) => Arc::clone(setup),
            Source::File(file) => file.current().await,
        };
        self.walk(&setup, host).await
    }

    /// Tries the names of the search list until one exists. A failure ends it: the next name's
    /// answer could be another host's.
    async fn walk(&self, setup: &Setup, host: &str) -> Result<Answer, LookupError> {
        let mut shortest = None;
        for name in Candidates::of(setup, host, self.options.absolute_names)? {
            match resolve(setup, &name, &self.options).await {
                Ok(answer) => return Ok(answer),
                Err(error) => match error.kind() {
                    LookupErrorKind::NotFound { ttl } => {
                        shortest = [shortest, ttl].into_iter().flatten().min();
                    }
                    _ => return Err(error),
                },
            }
        }
        Err(LookupError::new(LookupErrorKind::NotFound {
            ttl: shortest,
        }))
    }
}

impl Service<Name> for Hickory {
    type Response = Answer;
    type Error = LookupError;
    type Future = HickoryFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LookupError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> HickoryFuture {
        let shared = Arc::clone(&self.shared);
        HickoryFuture(Box::pin(async move { shared.lookup(name.as_str()).await }))
    }
}

impl fmt::Debug for Hickory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hickory")
            .field("options", &self.shared.options)
            .finish_non_exhaustive()
    }
}

/// The future of [`Hickory`].
///
/// # Cancel safety
///
/// Dropping it ends its queries; [`CachedDns`](crate::CachedDns) never does so before its hard
/// stop.
#[must_use = "futures do nothing unless polled"]
pub struct HickoryFuture(BoxFuture<'static, Result<Answer, LookupError>>);

impl Future for HickoryFuture {
    type Output = Result<Answer, LookupError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for HickoryFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HickoryFuture").finish_non_exhaustive()
    }
}
