use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::service_series::{InFlight, Outcome};
use crate::track::Track;

pin_project! {
    /// The future of [`QueueMetrics`](crate::QueueMetrics). Dropped before it is ready, it counts
    /// as cancelled.
    pub struct QueueMetricsFuture<F, T> {
        // Before the guard, so that the gauge falls when the request is really gone.
        #[pin]
        inner: F,
        in_flight: Option<InFlight>,
        track: PhantomData<fn() -> T>,
    }
}

impl<F, T> QueueMetricsFuture<F, T> {
    pub(crate) fn new(inner: F, in_flight: InFlight) -> Self {
        Self {
            inner,
            in_flight: Some(in_flight),
            track: PhantomData,
        }
    }
}

impl<F, T, R, E> Future for QueueMetricsFuture<F, T>
where
    F: Future<Output = Result<R, E>>,
    T: Track<R>,
{
    type Output = Result<T::Tracked, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx));
        let in_flight = this.in_flight.take();
        let in_flight = in_flight.expect("a future is not polled after it was ready");
        Poll::Ready(match result {
            Ok(response) => Ok(T::track(response, in_flight)),
            Err(error) => {
                in_flight.end(Outcome::Error);
                Err(error)
            }
        })
    }
}

impl<F: fmt::Debug, T> fmt::Debug for QueueMetricsFuture<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueMetricsFuture")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
