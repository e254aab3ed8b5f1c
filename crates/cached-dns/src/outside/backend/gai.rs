//! The system's resolver.

mod running;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use dns_lookup::{AddrInfoHints, LookupErrorKind as GaiErrorKind, SockType, getaddrinfo};
use futures_util::future::BoxFuture;
use hyper_util::client::legacy::connect::dns::Name;
use tokio::sync::Semaphore;
use tower_service::Service;

use self::running::{Found, Joined, Running};
use super::watched::Watched;
use crate::addresses::answer::Answer;
use crate::values::error::{Basis, LookupError, LookupErrorKind};

/// `getaddrinfo`: what every other program on the machine uses, with its hosts file, search list
/// and address order.
///
/// It blocks a thread per lookup, and a lookup that hangs cannot be taken back. So at most 32
/// (shared by clones) run at a time, and the blocking pool stays free for others: 600 hanging
/// lookups without such a limit delay every `tokio::fs` call by seconds. Further lookups wait
/// inside their futures.
///
/// It does not say how long an answer holds; [`CachedDnsLayer::fixed_ttl`] does.
///
/// [`CachedDnsLayer::fixed_ttl`]: crate::CachedDnsLayer::fixed_ttl
#[derive(Clone)]
pub struct Gai {
    threads: Arc<Semaphore>,
    running: Running,
    resolve: fn(&str) -> Found,
    /// The files that failures rest on.
    files: Arc<[Arc<dyn Basis>]>,
}

impl fmt::Debug for Gai {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gai")
            .field("free_threads", &self.threads.available_permits())
            .finish_non_exhaustive()
    }
}

/// The files that getaddrinfo reads anew when they change. Where they do not exist, nothing happens.
const FILES: [&str; 3] = ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"];

/// The number of lookups that run at a time. tokio's blocking pool has 512 threads for all comers.
const MAX_THREADS: NonZeroUsize = NonZeroUsize::new(32).unwrap();

impl Default for Gai {
    fn default() -> Self {
        Self::new()
    }
}

impl Gai {
    /// At most 32 lookups at a time.
    pub fn new() -> Self {
        Self::with_max_threads(MAX_THREADS)
    }

    /// At most `threads` lookups at a time.
    pub fn with_max_threads(threads: NonZeroUsize) -> Self {
        let permits = threads.get().min(Semaphore::MAX_PERMITS);
        Self {
            threads: Arc::new(Semaphore::new(permits)),
            running: Running::default(),
            resolve,
            files: FILES
                .map(|path| Watched::unread(path.into()).basis())
                .into(),
        }
    }
}

impl Service<Name> for Gai {
    type Response = Answer;
    type Error = LookupError;
    type Future = GaiFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LookupError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> GaiFuture {
        let this = self.clone();
        GaiFuture(Box::pin(async move {
            let result = this.lookup(name.as_str()).await;
            result.map_err(|error| error.resting_on(&this.files))
        }))
    }
}

impl Gai {
    /// One thread a name: a lookup that joins one under way, or comes soon after one that no caller
    /// waited for any more, gets its result.
    async fn lookup(&self, name: &str) -> Result<Answer, LookupError> {
        loop {
            let leader = match self.running.join(name) {
                Joined::Waiting(wait) => match wait.result().await {
                    Some(result) => return answer(result),
                    // The leader was dropped before it had a thread.
                    None => continue,
                },
                Joined::Leading(leader) => leader,
            };
            let permit = Arc::clone(&self.threads).acquire_owned().await;
            let permit = permit.map_err(LookupError::from_backend)?;
            let (resolve, name) = (self.resolve, name.to_owned());
            // Before the thread has the leader: a result that no one waits for is kept for the next
            // lookup.
            let wait = leader.wait();
            // Not awaited: the thread cannot be taken back, and its result counts though the caller
            // may go.
            drop(tokio::task::spawn_blocking(move || {
                // Held until the thread is free, not until the caller has lost interest.
                let _permit = permit;
                leader.finish(resolve(&name));
            }));
            let lost = || LookupError::from_backend("the thread of the lookup was lost");
            return answer(wait.result().await.ok_or_else(lost)?);
        }
    }
}

fn answer(found: Found) -> Result<Answer, LookupError> {
    Ok(Answer::new(found?))
}

fn resolve(host: &str) -> Found {
    // One result an address, not one a protocol.
    let hints = AddrInfoHints {
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let found = getaddrinfo(Some(host), None, Some(hints));
    let found = found.map_err(|error| {
        let failed = LookupError::new(kind_of(error.kind())).with_source(io::Error::from(error));
        // EAI_NONAME is also the error of a resolver without descriptors, modules or networks.
        failed.unconfirmed()
    })?;
    let addrs = found.map(|info| Ok(info?.sockaddr));
    let addrs = addrs.collect::<io::Result<Vec<SocketAddr>>>();
    addrs.map_err(LookupError::from_backend)
}

/// "No such name" and "no addresses" are answers; everything else may work next time.
fn kind_of(error: GaiErrorKind) -> LookupErrorKind {
    match error {
        GaiErrorKind::NoName | GaiErrorKind::NoData => LookupErrorKind::NotFound { ttl: None },
        _ => LookupErrorKind::Transient,
    }
}

/// The future of [`Gai`].
///
/// # Cancel safety
///
/// Dropped before its turn came, it takes its place in the queue with it; after that, the thread
/// goes on to the end of the lookup, and the place is free when it is done.
#[must_use = "futures do nothing unless polled"]
pub struct GaiFuture(BoxFuture<'static, Result<Answer, LookupError>>);

impl Future for GaiFuture {
    type Output = Result<Answer, LookupError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for GaiFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GaiFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
