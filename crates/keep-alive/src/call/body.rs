//! The response body, which holds the lease. Dropped before its end it drains or closes (`pool::lease::ending`).

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;
use tollgate_core::{Origin, Timings};

use crate::call::body_error::KeepAliveBodyError;
use crate::pool::lease::Lease;

/// The body of a response that came through the pool.
///
/// It holds the connection: the next request can use it when this body has ended or was dropped, the
/// request's own body has been sent, and hyper is ready again. Dropping it early costs the
/// connection unless the rest of the body is already at hand.
pub struct KeepAliveBody {
    // `drop` ends the lease before either goes. Where that is early the lease is parked, and the
    // driver collects it once hyper has seen this dropped.
    incoming: Incoming,
    lease: Lease,
    head: Head,
}

/// The facts about an exchange when its head has come.
pub(crate) struct Head {
    pub(crate) queued: Duration,
    pub(crate) arrived_at: Instant,
    pub(crate) attempts: u32,
}

impl Head {
    /// The times of an exchange on `lease`, up to this head.
    pub(crate) fn timings(&self, lease: &Lease) -> Timings {
        let mut timings = lease.timings();
        timings.queued = self.queued;
        timings.first_byte = Some(
            self.arrived_at
                .saturating_duration_since(lease.granted_at()),
        );
        timings.attempts = self.attempts;
        timings
    }
}

impl KeepAliveBody {
    #[inline]
    pub(crate) fn new(incoming: Incoming, mut lease: Lease, head: Head) -> Self {
        // No frame will come that could end it: without this an empty answer holds its connection
        // until it is dropped.
        if incoming.is_end_stream() {
            lease.end(false);
        }
        Self {
            incoming,
            lease,
            head,
        }
    }

    /// Returns the times of this exchange, up to the response head.
    pub fn timings(&self) -> Timings {
        self.head.timings(&self.lease)
    }

    /// Returns the origin that it came from.
    pub fn origin(&self) -> &Origin {
        &self.lease.origin().origin
    }

    #[cold]
    fn broke<T>(
        &mut self,
        error: KeepAliveBodyError,
    ) -> Poll<Option<Result<T, KeepAliveBodyError>>> {
        // The reason before the end, which gives the lease back with it.
        self.lease.broke();
        self.lease.end(false);
        Poll::Ready(Some(Err(error)))
    }

    /// Returns the time that ago the response head came.
    pub fn since_head(&self) -> Duration {
        self.head.arrived_at.elapsed()
    }
}

impl Body for KeepAliveBody {
    type Data = Bytes;
    type Error = KeepAliveBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, KeepAliveBodyError>>> {
        // It has ended or broken: an error is reported once.
        if self.lease.is_given_back() {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        match polled {
            Poll::Pending => Poll::Pending,
            // Many readers stop at the last frame and never ask for the end after it.
            Poll::Ready(Some(Ok(frame))) => {
                if self.incoming.is_end_stream() {
                    self.lease.end(false);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => self.broke(KeepAliveBodyError::http(error)),
            // hyper takes a reset with NO_ERROR for the end, also where no END_STREAM came before it.
            Poll::Ready(None) if self.lease.is_stream() && !self.incoming.is_end_stream() => {
                let missing = self.incoming.size_hint().exact();
                self.broke(KeepAliveBodyError::cut_short(missing))
            }
            Poll::Ready(None) => {
                self.lease.end(false);
                Poll::Ready(None)
            }
        }
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
