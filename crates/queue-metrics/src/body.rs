//! The response body of a measured service, in flight until it ends.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::service_series::{InFlight, Outcome};

pin_project! {
    /// A response body whose request is in flight until it has ended or is dropped.
    ///
    /// It has ended with its last frame: a reader that knows the length and does not ask for more
    /// ends it as well. Dropped before, it counts as cancelled.
    #[derive(Debug)]
    pub struct QueueMetricsBody<B> {
        // Before the guard, so that the gauge falls when the body is really gone.
        #[pin]
        inner: B,
        in_flight: Option<InFlight>,
    }
}

impl<B: Body> QueueMetricsBody<B> {
    pub(crate) fn new(inner: B, in_flight: InFlight) -> Self {
        let mut body = Self {
            inner,
            in_flight: Some(in_flight),
        };
        // An empty body may never be polled, and its drop would count as cancelled.
        if body.inner.is_end_stream() {
            end(&mut body.in_flight, Outcome::Ok);
        }
        body
    }
}

impl<B> QueueMetricsBody<B> {
    /// The body below.
    pub fn get_ref(&self) -> &B {
        &self.inner
    }

    /// The body below.
    pub fn get_mut(&mut self) -> &mut B {
        &mut self.inner
    }

    /// The body below. The request counts as ended well: its end is out of sight.
    pub fn into_inner(mut self) -> B {
        end(&mut self.in_flight, Outcome::Ok);
        self.inner
    }
}

impl<B: Body> Body for QueueMetricsBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        match &frame {
            Some(Ok(_)) if !this.inner.is_end_stream() => {}
            Some(Ok(_)) | None => end(this.in_flight, Outcome::Ok),
            Some(Err(_)) => end(this.in_flight, Outcome::Error),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn end(in_flight: &mut Option<InFlight>, outcome: Outcome) {
    // Once: the last frame ends it, and a reader may poll on to `None`.
    if let Some(in_flight) = in_flight.take() {
        in_flight.end(outcome);
    }
}
