//! hickory, one resolver a nameserver.

mod builder;
mod candidates;
mod driver;
mod error;
mod health;
mod machine;
mod resolv_conf;
mod route;
mod server;
mod setup;
mod transport;
mod wire;

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

pub use builder::HickoryBuilder;
pub use error::HickoryError;

use self::driver::resolve;
use self::setup::Setup;
use super::watched::Watched;
use crate::addresses::answer::Answer;
use crate::addresses::hosts::StaticHosts;
use crate::values::error::{Basis, LookupError};

/// Asks name servers itself, over UDP and TCP, with `hickory-resolver` for what is beyond these.
///
/// The TTLs of answers are known here, which [`Gai`](crate::Gai) cannot tell. `resolv.conf`, the hosts
/// file and the search list work as in glibc; `nsswitch.conf` and `gai.conf` are not read. Where it
/// differs:
///
/// * a family that is not answered costs 50 ms: A and AAAA are asked for apart, and the late one
///   joins the cached answer when it comes (RFC 8305 §3);
/// * the next server is asked after 300 ms without a reply, and a positive reply counts at once,
///   whichever server it comes from; a negative one counts when every server before it in the
///   configured order has replied or failed;
/// * a server that fails goes last for 1 s doubling to 60 s; one that was only overtaken does not;
/// * "no such name" is only what a server said of every candidate: where one could not say
///   (SERVFAIL, silence, a family that failed), the lookup failed and is tried again soon;
/// * the search list is walked past SERVFAIL, not past silence: the next name's answer could be
///   another host's;
/// * EDNS is offered, and left out for a server that rejects it;
/// * a dot at the end of a name does not lead past the hosts file.
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
    /// The files that failures rest on.
    files: Arc<[Arc<dyn Basis>]>,
}

enum Source<T> {
    Fixed(Arc<T>),
    /// A file that may change.
    File(Watched<T>),
}

#[derive(Clone, Debug)]
struct Options {
    timeout: Option<Duration>,
    silence: Option<Duration>,
    hedge: Duration,
    resolution_delay: Duration,
    late_limit: Duration,
    absolute_names: bool,
    case_randomization: bool,
    ipv6_first: Option<bool>,
}

/// The time after which an answer of the hosts file is looked up again.
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
        let result = resolve(&setup, host, &self.options).await;
        result.map_err(|error| error.resting_on(&self.files))
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
