//! The response body that holds the place.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::waiter::{Exchange, PoolLimitPermit};

pin_project! {
    /// A response body that holds its request's place until it ends, fails or is dropped.
    ///
    /// It ends with the frame after which it is at its end
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
    pub(crate) fn new(inner: B, mut permit: PoolLimitPermit) -> Self {
        let ended = inner.is_end_stream();
        // No frame will come to end an empty body: it is whole as it is.
        permit.set(if ended {
            Exchange::Whole
        } else {
            Exchange::Awaited
        });
        let permit = (!ended).then_some(permit);
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

    /// Returns true if it holds a place.
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
        let broken = matches!(frame, Some(Err(_)));
        let ended = !matches!(frame, Some(Ok(_))) || this.inner.is_end_stream();
        // Before the frame is handed on: a caller that stops at the last one would hold the place.
        if ended && let Some(mut permit) = this.permit.take() {
            permit.set(if broken {
                Exchange::Broken
            } else {
                Exchange::Whole
            });
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
