//! Request bodies of every type, as one type.
//!
//! hyper's sender is fixed to one body type for the life of a connection; callers are not. A body
//! that is known to be empty needs no box.

use std::any::Any;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tollgate_core::BoxError;

use crate::connection::counted::Counted;

/// The one request body type of the pool's connections.
///
/// One pointer, boxed twice if there is a body: a request passes through six moves between here and
/// hyper's writer, and with a word more it no longer fits what a move does at once.
pub(crate) struct ErasedBody(Option<Box<Boxed>>);

struct Boxed(Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>);

impl ErasedBody {
    pub(crate) const EMPTY: Self = Self(None);

    /// A body that has to be as long as was `announced`, or else as its own hint.
    pub(crate) fn new<B>(body: B, announced: Option<u64>) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if body.is_end_stream() {
            return Self::EMPTY;
        }
        let length = announced.or_else(|| body.size_hint().exact());
        let body = Erase { body };
        Self(Some(Box::new(Boxed(match length {
            Some(length) => Box::pin(Counted::new(body, length)),
            None => Box::pin(body),
        }))))
    }

    /// A body that is not asked whether it has ended.
    pub(crate) fn unended<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(Some(Box::new(Boxed(Box::pin(Erase { body })))))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns true if it is empty, or known to be short.
    #[inline]
    pub(crate) fn is_short(&self) -> bool {
        /// As much as a socket takes at once.
        const SHORT: u64 = 64 * 1024;
        self.is_empty() || self.size_hint().upper().is_some_and(|most| most <= SHORT)
    }
}

impl fmt::Debug for ErasedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErasedBody")
            .field("empty", &self.is_empty())
            .finish()
    }
}

impl Body for ErasedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0
            .as_mut()
            .map_or(Poll::Ready(None), |body| body.0.as_mut().poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|body| body.0.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), |body| body.0.size_hint())
    }
}

/// A panic of the body's destructor ends here, as one of its polls does.
impl Drop for ErasedBody {
    #[inline]
    fn drop(&mut self) {
        if let Some(body) = self.0.take() {
            body.end();
        }
    }
}

impl Boxed {
    #[inline(never)]
    fn end(self: Box<Self>) {
        if panic::catch_unwind(AssertUnwindSafe(|| drop(self))).is_err() {
            tracing::error!("the destructor of a request's body panicked");
        }
    }
}

pin_project_lite::pin_project! {
    struct Erase<B> {
        #[pin]
        body: B,
    }
}

impl<B> Body for Erase<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    /// A panic ends here, as the body's error: the task belongs to the connection, and on HTTP/2 to the
    /// streams of others.
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let body = self.project().body;
        let polled = panic::catch_unwind(AssertUnwindSafe(|| body.poll_frame(cx)));
        match polled {
            Ok(polled) => polled.map_err(Into::into),
            Err(payload) => Poll::Ready(Some(Err(panicked(&*payload).into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn panicked(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!(
        "the request's body panicked: {}",
        text.unwrap_or("no text came with it")
    )
}
