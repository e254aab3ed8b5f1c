//! The sizes of both bodies of a call, for an observer that asks for them.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Method, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use tollgate_core::{Event, Observer, Origin};

use crate::call_end::report;

/// The count of what both bodies of a call transfer. The request's body and the response's have it
/// together, and the last one to end reports it: an upload may outlast its answer.
pub(crate) struct Transfer {
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) method: Method,
    sent: AtomicU64,
    received: AtomicU64,
    /// `None` of a request without an origin, which is no call.
    end: OnceLock<End>,
    /// The response's body broke off.
    broken: OnceLock<&'static str>,
}

/// The end of the call, up to the head of its response.
pub(crate) struct End {
    pub(crate) origin: Origin,
    pub(crate) answer: Option<(StatusCode, Version)>,
    pub(crate) error: Option<&'static str>,
}

impl Transfer {
    pub(crate) fn new(observer: Arc<dyn Observer>, method: Method) -> Self {
        Self {
            observer,
            method,
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            end: OnceLock::new(),
            broken: OnceLock::new(),
        }
    }

    pub(crate) fn ended(&self, end: End) {
        let _once = self.end.set(end);
    }

    pub(crate) fn received(&self, data: &Bytes) {
        self.received.fetch_add(data.len() as u64, Relaxed);
    }

    pub(crate) fn broke(&self, error: &'static str) {
        let _once = self.broken.set(error);
    }
}

impl Drop for Transfer {
    /// Possibly in the task of a connection, which other calls share.
    fn drop(&mut self) {
        let Some(End {
            origin,
            answer,
            error,
        }) = self.end.take()
        else {
            return;
        };
        let event = Event::BodiesEnded {
            origin: &origin,
            method: &self.method,
            answer,
            error: error.or_else(|| self.broken.take()),
            sent: *self.sent.get_mut(),
            // Without a response there is no size of one.
            received: answer.map(|_| *self.received.get_mut()),
        };
        report(&event, &self.observer, &origin);
    }
}

pin_project_lite::pin_project! {
    /// A request body whose bytes are counted as they are taken to be sent.
    pub(crate) struct Metered<B> {
        #[pin]
        body: B,
        transfer: Arc<Transfer>,
    }
}

impl<B> Metered<B> {
    pub(crate) const fn new(body: B, transfer: Arc<Transfer>) -> Self {
        Self { body, transfer }
    }
}

impl<B: Body<Data = Bytes>> Body for Metered<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        // Trailers are not counted: the size is that of the body alone.
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            this.transfer.sent.fetch_add(data.len() as u64, Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
