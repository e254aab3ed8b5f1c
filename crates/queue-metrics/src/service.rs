//! The measured service.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

use crate::future::QueueMetricsFuture;
use crate::measure::{BodyEnd, MeasureUntil};
use crate::service_series::{InFlight, Outcome, ServiceSeries, Waiting};

/// A measured service, made by [`QueueMetricsLayer`](crate::QueueMetricsLayer).
pub struct QueueMetrics<S, U = BodyEnd> {
    /// Before the guards: a cancelled caller gives its place back first.
    inner: S,
    series: Arc<ServiceSeries>,
    waiting: Option<Waiting>,
    /// The wait of the next call so far.
    waited: Duration,
    until: PhantomData<fn() -> U>,
}

impl<S, U> QueueMetrics<S, U> {
    pub(crate) fn new(inner: S, series: Arc<ServiceSeries>) -> Self {
        Self {
            inner,
            series,
            waiting: None,
            waited: Duration::ZERO,
            until: PhantomData,
        }
    }

    /// The service below.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service below.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service below; a wait that was going on counts as given up.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, U, Request> Service<Request> for QueueMetrics<S, U>
where
    S: Service<Request>,
    U: MeasureUntil<S::Response>,
{
    type Response = U::Measured;
    type Error = S::Error;
    type Future = QueueMetricsFuture<S::Future, U>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match self.inner.poll_ready(cx) {
            Poll::Pending => {
                let series = &self.series;
                // Since the first pending poll: the later ones are of the same wait.
                self.waiting.get_or_insert_with(|| Waiting::start(series));
                return Poll::Pending;
            }
            Poll::Ready(Ok(())) => {
                if let Some(waiting) = self.waiting.take() {
                    // Added up: a service that was ready may be pending again before its call.
                    self.waited += waiting.ready();
                }
            }
            Poll::Ready(Err(error)) => {
                if let Some(waiting) = self.waiting.take() {
                    waiting.failed();
                }
                self.series.outcomes.add(Outcome::Error as usize);
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let waited = std::mem::take(&mut self.waited);
        // Before the hand-over: what runs below already sees itself counted, and a panic is too.
        let in_flight = InFlight::start(&self.series, waited);
        QueueMetricsFuture::new(self.inner.call(request), in_flight)
    }
}

/// A clone has not waited: only the service itself is like the original.
impl<S: Clone, U> Clone for QueueMetrics<S, U> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), Arc::clone(&self.series))
    }
}

impl<S: fmt::Debug, U> fmt::Debug for QueueMetrics<S, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueMetrics")
            .field("service", &self.series.name)
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
