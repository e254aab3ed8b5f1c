//! The wait for an answer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::addrs::{Addrs, Freshness};
use crate::awaited::announce;
use crate::engine::AnyEngine;
use crate::entry::Entry;
use crate::error::{LookupError, LookupErrorKind};
use crate::flights::{Joined, Outcome};
use crate::name::Key;
use crate::times::later;

/// The future of [`CachedDns`](crate::CachedDns): ready at once and without an allocation if the
/// cache knows the name.
///
/// # Cancel safety
///
/// Dropping it leaves the lookup running; its answer goes into the cache for the next caller.
#[must_use = "futures do nothing unless polled"]
pub struct CachedDnsFuture(State);

enum State {
    Ready(Option<Result<Addrs, LookupError>>),
    /// One family is out; whoever polls this may want to hear of it.
    Partial(Addrs, Arc<AnyEngine>),
    Waiting(Box<Waiting>),
}

struct Waiting {
    engine: Arc<AnyEngine>,
    key: Key,
    receiver: oneshot::Receiver<Outcome>,
    deadline: Pin<Box<Sleep>>,
    since: Instant,
    /// Taken when it is served, or has no say.
    stale: Option<Arc<Entry>>,
    restarted: bool,
}

impl CachedDnsFuture {
    pub(crate) fn ready(result: Result<Addrs, LookupError>) -> Self {
        Self(State::Ready(Some(result)))
    }

    pub(crate) fn served(engine: Arc<AnyEngine>, result: Result<Addrs, LookupError>) -> Self {
        Self(match result {
            Ok(addrs) if addrs.awaited().is_some() => State::Partial(addrs, engine),
            result => State::Ready(Some(result)),
        })
    }

    pub(crate) fn waiting(
        engine: Arc<AnyEngine>,
        key: Key,
        receiver: oneshot::Receiver<Outcome>,
        stale: Option<Arc<Entry>>,
        now: Instant,
    ) -> Self {
        let config = &engine.cache.config;
        let longest = match stale {
            Some(_) => config.stale_wait.min(config.lookup_timeout),
            None => config.lookup_timeout,
        };
        Self(State::Waiting(Box::new(Waiting {
            deadline: Box::pin(sleep_until(later(now, longest))),
            engine,
            key,
            receiver,
            since: now,
            stale,
            restarted: false,
        })))
    }
}

impl Future for CachedDnsFuture {
    type Output = Result<Addrs, LookupError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (result, engine) = match std::mem::replace(&mut self.0, State::Ready(None)) {
            State::Ready(result) => {
                return Poll::Ready(result.expect("polled after it was ready"));
            }
            State::Partial(addrs, engine) => (Ok(addrs), engine),
            State::Waiting(mut waiting) => match waiting.poll(cx) {
                Poll::Ready(result) => (result, Arc::clone(&waiting.engine)),
                Poll::Pending => {
                    self.0 = State::Waiting(waiting);
                    return Poll::Pending;
                }
            },
        };
        if let Ok(addrs) = &result {
            announce(addrs, &engine.cache);
        }
        Poll::Ready(result)
    }
}

impl Waiting {
    /// The answer goes before the deadline, if both are there.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Addrs, LookupError>> {
        while let Poll::Ready(received) = Pin::new(&mut self.receiver).poll(cx) {
            match received {
                Ok(Ok(entry)) => return Poll::Ready(Ok(self.fresh(entry))),
                Ok(Err(error)) => return Poll::Ready(self.stale_or(error)),
                Err(_) => {
                    if let Some(result) = self.start_again() {
                        return Poll::Ready(result);
                    }
                }
            }
        }
        ready!(self.deadline.as_mut().poll(cx));
        let error = LookupError::new(LookupErrorKind::TimedOut);
        let error = error.of(self.key.to_arc(), self.since.elapsed());
        Poll::Ready(self.stale_or(error))
    }

    fn fresh(&self, entry: Arc<Entry>) -> Addrs {
        self.engine
            .cache
            .serve(entry, Instant::now(), Freshness::Fresh)
    }

    fn stale_or(&mut self, error: LookupError) -> Result<Addrs, LookupError> {
        self.engine
            .stale_or(self.key.as_str(), error, self.stale.take())
    }

    /// The lookup's task went away with its runtime: once, this caller starts another on its own.
    fn start_again(&mut self) -> Option<Result<Addrs, LookupError>> {
        if !self.restarted {
            self.restarted = true;
            match self.engine.rejoin(self.key.as_str()) {
                Joined::Served(served) => {
                    if served.refresh {
                        self.engine.refresh(self.key.as_str());
                    }
                    return Some(served.result);
                }
                Joined::Waiting(receiver) | Joined::Starting(receiver, _) => {
                    self.receiver = receiver;
                    return None;
                }
            }
        }
        let error = LookupError::new(LookupErrorKind::Transient);
        let error = error.with_source("the runtime that ran the lookup is gone");
        Some(self.stale_or(error.of(self.key.to_arc(), self.since.elapsed())))
    }
}

/// The old answer was not needed, or its time had not come when the caller left.
impl Drop for Waiting {
    fn drop(&mut self) {
        let missed = self.stale.take().map(|_| "miss");
        // A panic of the observer's in a drop that a panic has caused would end the process.
        let told = AssertUnwindSafe(|| self.engine.observe_cache(self.key.as_str(), missed));
        if catch_unwind(told).is_err() {
            tracing::error!(target: "tollgate::dns", "the cache's observer panicked");
        }
    }
}

impl std::fmt::Debug for CachedDnsFuture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match &self.0 {
            State::Ready(_) | State::Partial(..) => "ready",
            State::Waiting(_) => "waiting",
        };
        f.debug_tuple("CachedDnsFuture").field(&state).finish()
    }
}
