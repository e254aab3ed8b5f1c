use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::measure::MeasureUntil;
use crate::service_series::{InFlight, Outcome};

pin_project! {
    /// The future of [`QueueMetrics`](crate::QueueMetrics). Dropped before it is ready, it counts
    /// as cancelled.
    pub struct QueueMetricsFuture<F, U> {
        // Before the guard, so that the gauge falls when the request is really gone.
        #[pin]
        inner: F,
        in_flight: Option<InFlight>,
        until: PhantomData<fn() -> U>,
    }
}

impl<F, U> QueueMetricsFuture<F, U> {
    pub(crate) fn new(inner: F, in_flight: InFlight) -> Self {
        Self {
            inner,
            in_flight: Some(in_flight),
            until: PhantomData,
        }
    }
}

impl<F, U, R, E> Future for QueueMetricsFuture<F, U>
where
    F: Future<Output = Result<R, E>>,
    U: MeasureUntil<R>,
{
    type Output = Result<U::Measured, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx));
        let in_flight = this.in_flight.take();
        let in_flight = in_flight.expect("a future is not polled after it was ready");
        Poll::Ready(match result {
            Ok(response) => Ok(U::measure(response, in_flight)),
            Err(error) => {
                in_flight.end(Outcome::Error);
                Err(error)
            }
        })
    }
}

impl<F: fmt::Debug, U> fmt::Debug for QueueMetricsFuture<F, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueMetricsFuture")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
