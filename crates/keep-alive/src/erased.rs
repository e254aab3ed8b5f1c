//! Request bodies of every type, as one type.
//!
//! hyper's sender is fixed to one body type for the life of a connection; callers are not. A body
//! that is known to be empty needs no box.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tollgate_core::BoxError;

/// The one request body type of the pool's connections.
///
/// One pointer, boxed twice if there is a body: a request passes through six moves between here and
/// hyper's writer, and with a word more it no longer fits what a move does at once.
pub(crate) struct ErasedBody(Option<Box<Boxed>>);

struct Boxed(Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>);

impl ErasedBody {
    pub(crate) const EMPTY: Self = Self(None);

    pub(crate) fn new<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if body.is_end_stream() {
            Self::EMPTY
        } else {
            Self::unended(body)
        }
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

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.project().body.poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
