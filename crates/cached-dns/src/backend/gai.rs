//! The system's resolver.

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

use crate::answer::{Answer, MAX_ADDRS};
use crate::error::{LookupError, LookupErrorKind};

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
#[derive(Clone, Debug)]
pub struct Gai {
    threads: Arc<Semaphore>,
    resolve: fn(&str) -> Result<Answer, LookupError>,
}

/// How many lookups run at a time. tokio's blocking pool has 512 threads for all comers.
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
            resolve,
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
        let (threads, resolve) = (Arc::clone(&self.threads), self.resolve);
        GaiFuture(Box::pin(async move {
            let permit = threads
                .acquire_owned()
                .await
                .map_err(LookupError::from_backend)?;
            let lookup = tokio::task::spawn_blocking(move || {
                // Held until the thread is free, not until the caller has lost interest.
                let _permit = permit;
                resolve(name.as_str())
            });
            lookup.await.map_err(LookupError::from_backend)?
        }))
    }
}

fn resolve(host: &str) -> Result<Answer, LookupError> {
    // One result an address, not one a protocol.
    let hints = AddrInfoHints {
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let found = getaddrinfo(Some(host), None, Some(hints));
    let found = found.map_err(|error| {
        LookupError::new(kind_of(error.kind())).with_source(io::Error::from(error))
    })?;
    let addrs = found.take(MAX_ADDRS).map(|info| Ok(info?.sockaddr));
    let addrs = addrs.collect::<io::Result<Vec<SocketAddr>>>();
    Ok(Answer::new(addrs.map_err(LookupError::from_backend)?))
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

impl std::fmt::Debug for GaiFuture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GaiFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};
    use std::time::Duration;

    use futures_util::future::join_all;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn localhost_is_found_once_per_address_and_without_a_port() {
        let answer = Gai::new().call("localhost".parse().unwrap()).await.unwrap();
        let mut addrs = answer.addrs.clone();
        addrs.dedup();
        assert_eq!(addrs, answer.addrs);
        assert!(
            addrs
                .iter()
                .all(|addr| addr.ip().is_loopback() && addr.port() == 0)
        );
        assert_eq!(answer.ttl, None);
    }

    #[test]
    fn only_an_answer_is_not_found() {
        for kind in [GaiErrorKind::NoName, GaiErrorKind::NoData] {
            assert_eq!(kind_of(kind), LookupErrorKind::NotFound { ttl: None });
        }
        for kind in [
            GaiErrorKind::Again,
            GaiErrorKind::Fail,
            GaiErrorKind::System,
        ] {
            assert_eq!(kind_of(kind), LookupErrorKind::Transient);
        }
    }

    /// How many threads hang, and whether they may go on.
    static HANGING: (Mutex<(usize, bool)>, Condvar) = (Mutex::new((0, false)), Condvar::new());

    #[expect(clippy::unnecessary_wraps, reason = "it stands in for one that fails")]
    fn hang(_: &str) -> Result<Answer, LookupError> {
        let (state, changed) = &HANGING;
        let mut state = state.lock().unwrap();
        state.0 += 1;
        drop(changed.wait_while(state, |state| !state.1).unwrap());
        Ok(Answer::new([]))
    }

    // Fault 16.
    #[tokio::test]
    async fn six_hundred_hanging_lookups_leave_the_blocking_pool_to_others() {
        let gai = Gai {
            resolve: hang,
            ..Gai::new()
        };
        let lookups = (0..600).map(|_| {
            let lookup = gai.clone().call("a.test".parse().unwrap());
            timeout(Duration::from_millis(100), lookup)
        });
        // Every caller gives up; the threads cannot.
        assert!(join_all(lookups).await.iter().all(Result::is_err));
        let others = tokio::task::spawn_blocking(|| HANGING.0.lock().unwrap().0);
        let hanging = timeout(Duration::from_secs(5), others)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(hanging, MAX_THREADS.get());
        assert_eq!(gai.threads.available_permits(), 0);
        HANGING.0.lock().unwrap().1 = true;
        HANGING.1.notify_all();
        let all = u32::try_from(MAX_THREADS.get()).unwrap();
        let free = gai.threads.acquire_many(all);
        drop(
            timeout(Duration::from_secs(5), free)
                .await
                .unwrap()
                .unwrap(),
        );
    }
}
