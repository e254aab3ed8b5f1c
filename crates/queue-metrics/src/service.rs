use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

use crate::future::QueueMetricsFuture;
use crate::service_series::{InFlight, Outcome, ServiceSeries, Waiting};
use crate::track::{ToBodyEnd, Track};

/// A measured service, made by [`QueueMetricsLayer`](crate::QueueMetricsLayer).
pub struct QueueMetrics<S, T = ToBodyEnd> {
    /// Before the guards: a caller that leaves lets go of its place first.
    inner: S,
    series: Arc<ServiceSeries>,
    waiting: Option<Waiting>,
    /// What the next call has waited for.
    waited: Duration,
    track: PhantomData<fn() -> T>,
}

impl<S, T> QueueMetrics<S, T> {
    pub(crate) fn new(inner: S, series: Arc<ServiceSeries>) -> Self {
        Self {
            inner,
            series,
            waiting: None,
            waited: Duration::ZERO,
            track: PhantomData,
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

impl<S, T, Request> Service<Request> for QueueMetrics<S, T>
where
    S: Service<Request>,
    T: Track<S::Response>,
{
    type Response = T::Tracked;
    type Error = S::Error;
    type Future = QueueMetricsFuture<S::Future, T>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match self.inner.poll_ready(cx) {
            Poll::Pending => {
                let series = &self.series;
                self.waiting.get_or_insert_with(|| Waiting::start(series));
                return Poll::Pending;
            }
            Poll::Ready(Ok(())) => {
                if let Some(waiting) = self.waiting.take() {
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
impl<S: Clone, T> Clone for QueueMetrics<S, T> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), Arc::clone(&self.series))
    }
}

impl<S: fmt::Debug, T> fmt::Debug for QueueMetrics<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueMetrics")
            .field("service", &self.series.name)
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
