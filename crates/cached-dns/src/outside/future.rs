//! The wait for an answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;
use tokio::time::Instant;
use tollgate_core::{Timer, late};

use crate::addresses::addrs::{Addrs, Freshness};
use crate::cache::Cache;
use crate::cache::flights::{Joined, Outcome};
use crate::entries::entry::Entry;
use crate::outside::engine::AnyEngine;
use crate::values::error::{LookupError, LookupErrorKind};
use crate::values::name::Key;
use crate::values::ttl::later;

/// The future of [`CachedDns`](crate::CachedDns): ready at once and without an allocation if the
/// cache knows the name.
///
/// # Cancel safety
///
/// After it is dropped the lookup goes on; its answer goes into the cache for the next caller.
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
    deadline: Instant,
    timer: Timer,
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
        (now, asked): (Instant, Instant),
    ) -> Self {
        let config = &engine.cache.config;
        // A caller with an old answer at hand waits for what is left of the query's time: in a long
        // outage it would else wait anew for every query that fails.
        let deadline = match stale {
            Some(_) => later(asked, config.stale_wait).min(later(now, config.lookup_timeout)),
            None => later(now, config.lookup_timeout),
        };
        Self(State::Waiting(Box::new(Waiting {
            deadline,
            // Of the runtime of the call, which was asked whether there is one: the poll may be outside.
            timer: Timer::at(deadline),
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
        // In the poll, not in the call: a dial listens only while it polls.
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
                Ok(Ok(entry)) => return Poll::Ready(Ok(self.fresh(&entry))),
                Ok(Err(error)) => return Poll::Ready(self.stale_or(error)),
                Err(_) => {
                    // Else round again: the new channel has no waker of this task until it is
                    // polled.
                    if let Some(result) = self.start_again() {
                        return Poll::Ready(result);
                    }
                }
            }
        }
        ready!(self.timer.poll_until(self.deadline, cx));
        let error = LookupError::new(LookupErrorKind::Timeout);
        let error = error.of(self.key.to_arc(), self.since.elapsed());
        Poll::Ready(self.stale_or(error))
    }

    fn fresh(&self, entry: &Entry) -> Addrs {
        let cache = &self.engine.cache;
        cache.serve_entry(entry, Instant::now(), Freshness::Fresh)
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
                    // Claimed by the probe in `rejoin`: who claims a refresh has to start it.
                    if served.refresh {
                        self.engine.refresh(self.key.as_str());
                    }
                    return Some(served.result);
                }
                Joined::Waiting(receiver, _) | Joined::Starting(receiver, ..) => {
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
        self.engine.observe_cache(self.key.as_str(), missed);
    }
}

/// Tells the dial that is about to be given `addrs`, if there is one, that more follows, if it does.
fn announce(addrs: &Addrs, cache: &Arc<Cache>) {
    let Some(awaited) = addrs.awaited().filter(|_| late::is_heard()) else {
        return;
    };
    let (waited, whole) = (awaited.waited(Instant::now()), awaited.clone().whole());
    let cache = Arc::clone(cache);
    late::follow(waited, async move {
        // Served when it comes, to each that waits: each gets a turn of the rotation of its own.
        let serve = |group| cache.serve(&group, Instant::now(), Freshness::Fresh);
        whole
            .await
            .map_or_else(Vec::new, |group| serve(group).collect())
    });
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
