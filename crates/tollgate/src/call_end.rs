//! The end of a call, for observers.

use std::sync::Arc;

use http::{Method, Response, StatusCode, Version};
use tokio::time::Instant;
use tollgate_core::{Event, Observer, Origin};
use tollgate_keep_alive::KeepAliveBody;

use crate::error::Error;
use crate::future::Destination;
use crate::transfer::{End, Transfer};

/// An observer of calls.
pub(crate) struct Watcher {
    observer: Arc<dyn Observer>,
    /// It wants the sizes of bodies.
    bodies: bool,
}

impl Watcher {
    pub(crate) fn new(observer: Arc<dyn Observer>) -> Self {
        Self {
            // Asked once: it decides what each call allocates.
            bodies: observer.observes_bodies(),
            observer,
        }
    }
}

/// Reports to the client's observer.
pub(crate) fn report(event: &Event<'_>, observer: &Arc<dyn Observer>, origin: &Origin) {
    if !event.report_to(observer.as_ref()) {
        tracing::error!(target: "tollgate::client", %origin, "the client's observer panicked");
    }
}

/// A call under way whose end an observer wants to see.
pub(crate) struct CallEnd {
    reports: Reports,
    since: Instant,
}

/// The observer and the method, which a call whose bodies are counted has there.
enum Reports {
    Plain(Arc<dyn Observer>, Method),
    Metered(Arc<Transfer>),
}

impl CallEnd {
    pub(crate) fn of(watcher: &Watcher, method: &Method) -> Self {
        let (observer, method) = (Arc::clone(&watcher.observer), method.clone());
        Self {
            reports: if watcher.bodies {
                Reports::Metered(Arc::new(Transfer::new(observer, method)))
            } else {
                Reports::Plain(observer, method)
            },
            since: Instant::now(),
        }
    }

    /// The count of what its bodies transfer, if an observer wants it.
    #[inline]
    pub(crate) fn transfer(&self) -> Option<&Arc<Transfer>> {
        match &self.reports {
            Reports::Plain(..) => None,
            Reports::Metered(transfer) => Some(transfer),
        }
    }

    /// Returns what the response's body has to count.
    pub(crate) fn answered(self, response: &Response<KeepAliveBody>) -> Option<Arc<Transfer>> {
        let answer = Some((response.status(), response.version()));
        self.report(response.body().origin(), answer, None);
        match self.reports {
            Reports::Plain(..) => None,
            Reports::Metered(transfer) => {
                let origin = response.body().origin().clone();
                transfer.ended(End {
                    origin,
                    answer,
                    error: None,
                });
                Some(transfer)
            }
        }
    }

    fn report(
        &self,
        origin: &Origin,
        answer: Option<(StatusCode, Version)>,
        error: Option<&'static str>,
    ) {
        let (observer, method) = match &self.reports {
            Reports::Plain(observer, method) => (observer, method),
            Reports::Metered(transfer) => (&transfer.observer, &transfer.method),
        };
        let event = Event::CallEnded {
            origin,
            method,
            answer,
            error,
            elapsed: self.since.elapsed(),
        };
        report(&event, observer, origin);
    }

    #[cold]
    pub(crate) fn failed(self, error: &Error, destination: Option<&Destination>) {
        let named = || destination.and_then(Destination::origin);
        let origin = error.origin().cloned().or_else(named);
        self.without_answer(origin, error.kind().label());
    }

    /// The caller went away.
    #[cold]
    pub(crate) fn left(self, destination: Option<&Destination>) {
        self.without_answer(destination.and_then(Destination::origin), "cancelled");
    }

    /// A request without an origin was a call to nowhere.
    fn without_answer(self, origin: Option<Origin>, error: &'static str) {
        let Some(origin) = origin else {
            return;
        };
        self.report(&origin, None, Some(error));
        if let Reports::Metered(transfer) = &self.reports {
            transfer.ended(End {
                origin,
                answer: None,
                error: Some(error),
            });
        }
    }
}
