//! The response body, which holds the lease.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;
use tollgate_core::Timings;

use crate::lease::Lease;

/// The body of a response that came through the pool.
///
/// It holds the connection: the next request can use it when this body has ended or was dropped, the
/// request's own body has been sent, and hyper is ready again. Dropping it early costs the
/// connection unless the rest of the body is already at hand.
pub struct KeepAliveBody {
    incoming: Incoming,
    lease: Lease,
    head: Head,
}

/// What is known of an exchange when its head has come.
pub(crate) struct Head {
    pub(crate) queued: Duration,
    pub(crate) arrived_at: Instant,
    pub(crate) attempts: u32,
}

impl KeepAliveBody {
    #[inline]
    pub(crate) fn new(incoming: Incoming, lease: Lease, head: Head) -> Self {
        let mut body = Self {
            incoming,
            lease,
            head,
        };
        if body.incoming.is_end_stream() {
            body.lease.end(false);
        }
        body
    }

    /// Where the time of this exchange went, up to the response head.
    pub fn timings(&self) -> Timings {
        let mut timings = self.lease.timings();
        let first_byte = self
            .head
            .arrived_at
            .saturating_duration_since(self.lease.granted_at());
        timings.queued = self.head.queued;
        timings.first_byte = Some(first_byte);
        timings.attempts = self.head.attempts;
        timings
    }

    /// How long ago the response head came.
    pub fn since_head(&self) -> Duration {
        self.head.arrived_at.elapsed()
    }
}

impl Body for KeepAliveBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if self.lease.is_given_back() {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        // Many readers stop at the last frame and never ask for the end after it.
        let ended = match &polled {
            Poll::Pending => false,
            Poll::Ready(Some(Ok(_))) => self.incoming.is_end_stream(),
            Poll::Ready(Some(Err(_))) => {
                self.lease.broke();
                true
            }
            Poll::Ready(None) => true,
        };
        if ended {
            self.lease.end(false);
        }
        polled
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
        self.lease.end(true);
    }
}

impl fmt::Debug for KeepAliveBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeepAliveBody")
            .field("ended", &self.lease.is_over())
            .field("timings", &self.timings())
            .finish_non_exhaustive()
    }
}
