//! Runs lookups: each in a task of its own, whoever asked for it.

mod ask;
mod query_permit;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tollgate_core::Event;

use self::ask::Ask;
use self::query_permit::QueryPermit;
use crate::addresses::addrs::Addrs;
use crate::addresses::answer::Late;
use crate::addresses::awaited::{Awaited, Tell};
use crate::cache::Cache;
use crate::cache::config::Config;
use crate::cache::flight::Flight;
use crate::cache::flights::{Joined, Lost};
use crate::cache::probe::{Probe, Served};
use crate::cache::stats::count;
use crate::entries::entry::Entry;
use crate::outside::future::CachedDnsFuture;
use crate::values::error::{LookupError, LookupErrorKind};
use crate::values::name::Key;
use crate::values::ttl::later;

pub(crate) struct Engine<A: ?Sized> {
    pub(crate) cache: Arc<Cache>,
    /// Places for queries.
    lookups: Semaphore,
    /// Places for families that are late.
    lates: Semaphore,
    pub(crate) backend: A,
}

pub(crate) type AnyEngine = Engine<dyn Ask>;

impl<A> Engine<A> {
    pub(crate) fn new(config: Config, backend: A) -> Self {
        let places = config.max_lookups.get().min(Semaphore::MAX_PERMITS);
        Self {
            cache: Arc::new(Cache::new(config, Instant::now())),
            lookups: Semaphore::new(places),
            lates: Semaphore::new(places),
            backend,
        }
    }
}

impl<A: ?Sized> Engine<A> {
    pub(crate) fn observe_cache(&self, name: &str, result: Option<&'static str>) {
        if let Some(result) = result {
            self.observe(&Event::DnsCache { name, result });
        }
    }

    fn observe(&self, event: &Event<'_>) {
        if let Some(observer) = &self.cache.config.observer
            && !event.report_to(observer.as_ref())
        {
            tracing::error!(target: "tollgate::dns", "the cache's observer panicked");
        }
    }

    fn observe_lookup(&self, name: &str, asked: Instant, error: Option<&LookupError>) {
        let counters = &self.cache.counters;
        count(match error {
            None => &counters.answered,
            Some(error) if error.is_not_found() => &counters.not_found,
            Some(_) => &counters.failed,
        });
        let elapsed = asked.elapsed();
        let error = error.map(|error| error.kind().label());
        tracing::debug!(name, ?elapsed, error, "looked up");
        self.observe(&Event::DnsLookup {
            name,
            elapsed,
            error,
        });
    }
}

impl AnyEngine {
    /// A lookup that the cache could not answer.
    pub(crate) fn wait(
        self: Arc<Self>,
        name: &str,
        stale: Option<Arc<Entry>>,
        now: Instant,
    ) -> CachedDnsFuture {
        // Before it joins a flight: without a runtime there is no timer for its wait.
        if Handle::try_current().is_err() {
            return CachedDnsFuture::ready(self.stale_or(name, no_runtime(name), stale));
        }
        let (joined, lost) = self.cache.join(name, now);
        self.reclaim(lost);
        let (receiver, since) = match joined {
            Joined::Served(mut served) => {
                // An old answer is better than being refused for want of places.
                if let Err(error) = served.result {
                    // `stale_or` reports the fate of the old answer: with both events one lookup would
                    // be two.
                    served.event = served.event.filter(|_| stale.is_none());
                    served.result = self.stale_or(name, error, stale);
                }
                return self.finish(name, served);
            }
            Joined::Waiting(receiver, since) => (receiver, since),
            Joined::Starting(receiver, flight) => {
                self.launch(flight);
                (receiver, now)
            }
        };
        // With an old answer at hand it gets the fate of that, when it is clear.
        self.observe_cache(name, stale.is_none().then_some("miss"));
        CachedDnsFuture::waiting(self, Key::new(name), receiver, stale, (now, since))
    }

    /// "Not found" is an answer and goes before an old one; a failure does not.
    pub(crate) fn stale_or(
        &self,
        name: &str,
        error: LookupError,
        stale: Option<Arc<Entry>>,
    ) -> Result<Addrs, LookupError> {
        match stale {
            Some(entry) if !error.is_not_found() => {
                self.observe_cache(name, Some("stale"));
                Ok(self.cache.serve_stale(&entry, Instant::now()))
            }
            stale => {
                self.observe_cache(name, stale.map(|_| "miss"));
                Err(error)
            }
        }
    }

    /// Starts the refresh that `served` asks for, and gives its result.
    pub(crate) fn finish(self: Arc<Self>, name: &str, served: Served) -> CachedDnsFuture {
        self.observe_cache(name, served.event);
        if served.refresh {
            self.refresh(name);
        }
        if let Some(failure) = &served.doubt {
            failure.look_again();
        }
        CachedDnsFuture::served(self, served.result)
    }

    /// Starts a lookup in the background, unless one is under way. Whether it did.
    pub(crate) fn refresh(self: &Arc<Self>, name: &str) -> bool {
        let (flight, lost) = self.cache.start_refresh(name, Instant::now());
        self.reclaim(lost);
        flight.map(|flight| self.launch(flight)).is_some()
    }

    /// Joins again after the task of the first lookup was lost with its runtime.
    pub(crate) fn rejoin(self: &Arc<Self>, name: &str) -> Joined {
        let (joined, lost) = self.cache.join(name, Instant::now());
        self.reclaim(lost);
        match joined {
            Joined::Starting(receiver, flight) => {
                let since = flight.started();
                self.launch(flight);
                Joined::Waiting(receiver, since)
            }
            joined => joined,
        }
    }

    /// Takes the places of flights that nothing drives.
    fn reclaim(&self, lost: Lost) {
        let held = lost
            .iter()
            // Swapped: the query's own end, should it come, gives back no second one.
            .filter(|waiters| waiters.has_permit.swap(false, Relaxed));
        self.lookups.add_permits(held.count());
        drop(lost);
    }

    fn launch(self: &Arc<Self>, flight: Flight) {
        if let Ok(runtime) = Handle::try_current() {
            drop(runtime.spawn(Arc::clone(self).fly(flight)));
        } else {
            // Settled, not dropped: a channel that closes has those that wait start again, each in
            // vain.
            let error = no_runtime(flight.key.as_str());
            flight.settle(Err(error), Instant::now());
        }
    }

    /// The task: at most as long as the hard stop, whoever is still waiting.
    async fn fly(self: Arc<Self>, flight: Flight) {
        let stop = later(flight.started(), self.cache.config.hard_stop);
        let permit = timeout_at(stop, self.lookups.acquire()).await;
        // A place that falls free at the very stop, because others stop too, is no use.
        let permit = permit.ok().filter(|_| Instant::now() < stop);
        let Some(Ok(permit)) = permit else {
            let error = LookupError::new(LookupErrorKind::Overloaded);
            flight.settle(Err(error), Instant::now());
            return;
        };
        // Known to its waiters from here on: a flight that nothing drives gives its place back by
        // `reclaim`.
        let permit = QueryPermit::new(permit, &self.lookups, flight.waiters());
        let key = flight.key.clone();
        let asked = Instant::now();
        count(&self.cache.counters.queries);
        let result = timeout_at(stop, self.backend.ask(key.as_str())).await;
        let mut result = result.unwrap_or_else(|_| Err(LookupError::new(LookupErrorKind::Timeout)));
        // Before the answer is out: a caller that goes on to the next name finds the place free.
        drop(permit);
        self.observe_lookup(key.as_str(), asked, result.as_ref().err());
        // Before it is settled: the entry that callers are served from carries the wait for more.
        let late = result.as_mut().ok().and_then(|answer| {
            let late = answer.late.take()?;
            let (tell, awaited) = Awaited::new(late.waited, Instant::now());
            answer.awaited = Some(awaited);
            Some((late, tell))
        });
        let entry = flight.settle(result, Instant::now());
        if let (Some(entry), Some((late, tell))) = (entry, late) {
            self.await_late(&key, &entry, late, tell, stop).await;
        }
    }

    async fn await_late(
        &self,
        key: &Key,
        partial: &Arc<Entry>,
        late: Late,
        tell: Tell,
        stop: Instant,
    ) {
        // So many late families are hopeless; the next refresh tries again.
        let Ok(_place) = self.lates.try_acquire() else {
            return;
        };
        if let Ok(Some(mut whole)) = timeout_at(stop, late.rest).await
            && !whole.addrs.is_empty()
        {
            // Once is enough.
            drop(whole.late.take());
            // The cache first: a dial that is sent the rest and looks the name up again gets the
            // same.
            let entry = self.cache.complete(key, partial, whole, Instant::now());
            tell.send_replace(Some(Arc::clone(&entry.addrs)));
        }
    }
}

fn no_runtime(name: &str) -> LookupError {
    let error = LookupError::new(LookupErrorKind::Transient);
    let error = error.with_source("a lookup needs a tokio runtime, and there is none here");
    error.of(name.into(), std::time::Duration::ZERO)
}

/// Returns the answer for `name` that is there at once, if any.
pub(crate) fn probe<A: ?Sized>(engine: &Engine<A>, name: &str) -> (Probe, Instant) {
    let now = Instant::now();
    (engine.cache.probe(name, now), now)
}
