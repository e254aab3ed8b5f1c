//! The response body, which holds the lease.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tollgate_core::Timings;

use crate::lease::Lease;

/// The body of a response that came through the pool.
///
/// It holds the connection: the next request can use it when this body has ended or was dropped, the
/// request's own body has been sent, and hyper is ready again. Dropping it early costs the
/// connection unless the rest of the body is already at hand.
pub struct KeepAliveBody {
    incoming: Incoming,
    lease: Option<Lease>,
    timings: Timings,
}

impl KeepAliveBody {
    pub(crate) fn new(incoming: Incoming, lease: Option<Lease>, timings: Timings) -> Self {
        let mut body = Self {
            incoming,
            lease,
            timings,
        };
        if body.incoming.is_end_stream() {
            body.end();
        }
        body
    }

    /// Where the time of this exchange went, up to the response head.
    pub fn timings(&self) -> &Timings {
        &self.timings
    }

    fn end(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.end(false);
        }
    }
}

impl Body for KeepAliveBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        // Many readers stop at the last frame and never ask for the end after it.
        if !matches!(frame, Some(Ok(_))) || self.incoming.is_end_stream() {
            self.end();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for KeepAliveBody {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.end(true);
        }
    }
}

impl fmt::Debug for KeepAliveBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeepAliveBody")
            .field("ended", &self.lease.is_none())
            .field("timings", &self.timings)
            .finish_non_exhaustive()
    }
}
