//! The future of a measured call.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tollgate_core::wait;

use crate::measure::MeasureUntil;
use crate::service_series::{InFlight, Outcome};

pin_project! {
    /// The future of [`QueueMetrics`](crate::QueueMetrics). Dropped before it is ready, it counts
    /// as cancelled.
    pub struct QueueMetricsFuture<F, U> {
        // `None` once it is dropped.
        #[pin]
        inner: Option<F>,
        in_flight: Option<InFlight>,
        until: PhantomData<fn() -> U>,
    }

    impl<F, U> PinnedDrop for QueueMetricsFuture<F, U> {
        // What is below first: what it waited until now counts, and the gauge falls when the
        // request is really gone.
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let ((), waited) = wait::scope(|| this.inner.set(None));
            if let Some(in_flight) = this.in_flight {
                in_flight.waited_below(waited);
            }
        }
    }
}

impl<F, U> QueueMetricsFuture<F, U> {
    pub(crate) fn new(inner: F, in_flight: InFlight) -> Self {
        Self {
            inner: Some(inner),
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
        let inner = this.inner.as_pin_mut().expect("it is there until the drop");
        let (polled, waited) = wait::scope(|| inner.poll(cx));
        if let Some(in_flight) = this.in_flight {
            in_flight.waited_below(waited);
        }
        let Poll::Ready(result) = polled else {
            return Poll::Pending;
        };
        let in_flight = this.in_flight.take();
        let mut in_flight = in_flight.expect("a future is not polled after it was ready");
        // The wait ends with the head. Before `measure`, which may be the user's and keep the guard
        // for as long as it likes.
        in_flight.answered();
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
