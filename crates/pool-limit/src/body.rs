//! The response body that holds the place.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::waiter::PoolLimitPermit;

pin_project! {
    /// A response body that holds its request's place until it ends, fails or is dropped.
    ///
    /// It ends with the frame after which it says so
    /// ([`is_end_stream`](Body::is_end_stream)), so a caller that stops reading there holds
    /// nothing. One that keeps an unread body holds the place as long as it keeps it.
    #[derive(Debug)]
    pub struct PoolLimitBody<B> {
        // Before the permit, so that a connection goes back before the place that it is for.
        #[pin]
        inner: B,
        permit: Option<PoolLimitPermit>,
    }
}

impl<B: Body> PoolLimitBody<B> {
    pub(crate) fn new(inner: B, permit: PoolLimitPermit) -> Self {
        let permit = (!inner.is_end_stream()).then_some(permit);
        Self { inner, permit }
    }
}

impl<B> PoolLimitBody<B> {
    /// The body.
    pub const fn get_ref(&self) -> &B {
        &self.inner
    }

    /// The body, to change it.
    pub const fn get_mut(&mut self) -> &mut B {
        &mut self.inner
    }

    /// The body alone: the place is given back.
    pub fn into_inner(self) -> B {
        self.inner
    }

    /// Whether it holds a place.
    pub const fn holds_place(&self) -> bool {
        self.permit.is_some()
    }
}

impl<B: Body> Body for PoolLimitBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || this.inner.is_end_stream() {
            drop(this.permit.take());
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
