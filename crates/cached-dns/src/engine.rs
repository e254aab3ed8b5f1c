//! Runs lookups: each in a task of its own, whoever asked for it.

use std::sync::Arc;

use futures_util::future::{BoxFuture, poll_fn};
use hyper_util::client::legacy::connect::dns::Name;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tollgate_core::{BoxError, Event};
use tower_service::Service;

use crate::addrs::Addrs;
use crate::answer::{Answer, IntoAnswer, Late};
use crate::awaited::{Awaited, Tell};
use crate::cache::Cache;
use crate::config::Config;
use crate::entry::Entry;
use crate::error::{LookupError, LookupErrorKind};
use crate::flight::Flight;
use crate::flights::Joined;
use crate::future::CachedDnsFuture;
use crate::name::Key;
use crate::probe::{Probe, Served};
use crate::stats::count;
use crate::times::later;

/// A backend, its types erased, so that the handle and the future have none.
pub(crate) trait Ask: Send + Sync {
    fn ask(&self, name: &str) -> BoxFuture<'static, Result<Answer, LookupError>>;
}

impl<B> Ask for B
where
    B: Service<Name> + Clone + Send + Sync + 'static,
    B::Response: IntoAnswer,
    B::Error: Into<BoxError>,
    B::Future: Send,
{
    fn ask(&self, name: &str) -> BoxFuture<'static, Result<Answer, LookupError>> {
        let (mut backend, name) = (self.clone(), name.parse::<Name>());
        Box::pin(async move {
            let name = name.map_err(LookupError::from_backend)?;
            let ready = poll_fn(|cx| backend.poll_ready(cx)).await;
            ready.map_err(LookupError::from_backend)?;
            match backend.call(name).await {
                Ok(response) => Ok(response.into_answer()),
                Err(error) => Err(LookupError::from_backend(error)),
            }
        })
    }
}

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
        if let (Some(observer), Some(result)) = (&self.cache.config.observer, result) {
            observer.on_event(&Event::DnsCache { name, result });
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
        if let Some(observer) = &self.cache.config.observer {
            observer.on_event(&Event::DnsLookup {
                name,
                elapsed,
                error,
            });
        }
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
        if Handle::try_current().is_err() {
            return CachedDnsFuture::ready(self.stale_or(name, no_runtime(name), stale));
        }
        let receiver = match self.cache.join(name, now) {
            Joined::Served(mut served) => {
                // An old answer is better than being refused for want of places.
                if let Err(error) = served.result {
                    served.event = served.event.filter(|_| stale.is_none());
                    served.result = self.stale_or(name, error, stale);
                }
                return self.finish(name, served);
            }
            Joined::Waiting(receiver) => receiver,
            Joined::Starting(receiver, flight) => {
                self.launch(flight);
                receiver
            }
        };
        // With an old answer at hand it is told what became of that, when it is clear.
        self.observe_cache(name, stale.is_none().then_some("miss"));
        CachedDnsFuture::waiting(self, Key::new(name), receiver, stale, now)
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
                Ok(self.cache.serve_stale(entry, Instant::now()))
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
        CachedDnsFuture::served(self, served.result)
    }

    /// Starts a lookup in the background, unless one is under way. Whether it did.
    pub(crate) fn refresh(self: &Arc<Self>, name: &str) -> bool {
        let flight = self.cache.start_refresh(name, Instant::now());
        flight.map(|flight| self.launch(flight)).is_some()
    }

    /// Joins again after the task of the first lookup was lost with its runtime.
    pub(crate) fn rejoin(self: &Arc<Self>, name: &str) -> Joined {
        match self.cache.join(name, Instant::now()) {
            Joined::Starting(receiver, flight) => {
                self.launch(flight);
                Joined::Waiting(receiver)
            }
            joined => joined,
        }
    }

    fn launch(self: &Arc<Self>, flight: Flight) {
        if let Ok(runtime) = Handle::try_current() {
            drop(runtime.spawn(Arc::clone(self).fly(flight)));
        } else {
            let error = no_runtime(flight.key.as_str());
            flight.settle(Err(error), Instant::now());
        }
    }

    /// The task: at most as long as the hard stop, whoever is still waiting.
    async fn fly(self: Arc<Self>, flight: Flight) {
        let stop = later(flight.started(), self.cache.config.hard_stop);
        let place = timeout_at(stop, self.lookups.acquire()).await;
        // A place that falls free at the very stop, because others stop too, is no use.
        let place = place.ok().filter(|_| Instant::now() < stop);
        let Some(Ok(place)) = place else {
            let error = LookupError::new(LookupErrorKind::Overloaded);
            flight.settle(Err(error), Instant::now());
            return;
        };
        let key = flight.key.clone();
        let asked = Instant::now();
        count(&self.cache.counters.queries);
        let result = timeout_at(stop, self.backend.ask(key.as_str())).await;
        let mut result =
            result.unwrap_or_else(|_| Err(LookupError::new(LookupErrorKind::TimedOut)));
        drop(place);
        self.observe_lookup(key.as_str(), asked, result.as_ref().err());
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
            let entry = self.cache.complete(key, partial, whole, Instant::now());
            tell.send_replace(Some(entry));
        }
    }
}

fn no_runtime(name: &str) -> LookupError {
    let error = LookupError::new(LookupErrorKind::Transient);
    let error = error.with_source("a lookup needs a tokio runtime, and there is none here");
    error.of(name.into(), std::time::Duration::ZERO)
}

/// What `name` gives right away, if it does.
pub(crate) fn probe<A: ?Sized>(engine: &Engine<A>, name: &str) -> (Probe, Instant) {
    let now = Instant::now();
    (engine.cache.probe(name, now), now)
}
