//! The request body of one stream: what it takes to send it again, and the lease until it has ended.
//!
//! A stream counts against what the peer allows until both sides have ended it, so a lease that ends
//! with its response while the request's body is still on its way waits here for that.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::vec;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tollgate_admission::Slot;
use tollgate_core::BoxError;

use crate::erased::ErasedBody;
use crate::lease::Lease;

type Polled = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

/// What the sender of a stream and hyper share of a request's body.
pub(crate) struct Upload {
    state: Mutex<State>,
    ended: AtomicBool,
    parked: Slot<Lease>,
}

struct State {
    /// Away while it is polled, and for good once it was reclaimed: no code of the caller's runs
    /// under the lock.
    body: Option<ErasedBody>,
    /// What was taken of the body; `None` once that cannot be sent again.
    kept: Option<Kept>,
    cancelled: bool,
    waker: Option<Waker>,
}

struct Kept {
    chunks: Vec<Bytes>,
    room: usize,
}

impl Upload {
    /// Puts itself between a body that is not empty and hyper. Keeps up to `room` bytes of what hyper
    /// takes.
    pub(crate) fn of(body: &mut ErasedBody, room: usize) -> Option<Arc<Self>> {
        if body.is_empty() {
            return None;
        }
        let kept = Kept {
            chunks: Vec::new(),
            room,
        };
        let upload = Arc::new(Self {
            state: Mutex::new(State {
                body: Some(std::mem::replace(body, ErasedBody::EMPTY)),
                kept: Some(kept),
                cancelled: false,
                waker: None,
            }),
            ended: AtomicBool::new(false),
            parked: Slot::new(),
        });
        *body = ErasedBody::unended(Watched(upload.clone()));
        Some(upload)
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether hyper is done with the body.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// The body as it was before hyper took anything of it, unless more was taken than is kept. hyper
    /// gets no more of it.
    pub(crate) fn reclaim(&self) -> Option<ErasedBody> {
        let mut state = self.locked();
        let chunks = state.kept.take()?.chunks;
        let rest = state.body.take()?;
        drop(state);
        if chunks.is_empty() {
            return Some(rest);
        }
        let chunks = chunks.into_iter();
        Some(ErasedBody::unended(Again { chunks, rest }))
    }

    /// The request is not sent again.
    pub(crate) fn keep_nothing(&self) {
        let kept = self.locked().kept.take();
        drop(kept);
    }

    /// Nobody wants the exchange any more: the stream is reset when hyper asks for the next frame.
    pub(crate) fn cancel(&self) {
        let mut state = self.locked();
        state.cancelled = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Holds the lease until the body has ended; gives it back if it has.
    pub(crate) fn park(&self, lease: Lease) -> Option<Lease> {
        self.parked.park(lease, |_| self.has_ended())
    }

    /// Asks the body something; `away` is the answer if it was reclaimed.
    fn ask<T>(&self, ask: impl FnOnce(&ErasedBody) -> T, away: impl FnOnce() -> T) -> T {
        let body = self.locked().body.take();
        let Some(body) = body else {
            return away();
        };
        let answer = ask(&body);
        self.locked().body = Some(body);
        answer
    }

    fn poll_frame(&self, cx: &mut Context<'_>) -> Polled {
        let mut state = self.locked();
        if state.cancelled {
            return Poll::Ready(Some(Err(cancelled())));
        }
        let Some(mut body) = state.body.take() else {
            return Poll::Ready(Some(Err(cancelled())));
        };
        // Before the body is polled: a cancellation meanwhile wakes whoever polls next.
        state.waker = Some(cx.waker().clone());
        drop(state);
        let polled = Pin::new(&mut body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) {
            body = ErasedBody::EMPTY;
        }
        let mut state = self.locked();
        state.keep(&polled);
        state.body = Some(body);
        polled
    }
}

impl State {
    fn keep(&mut self, polled: &Polled) {
        let fits = match (polled, &mut self.kept) {
            (Poll::Pending | Poll::Ready(None), _) | (_, None) => return,
            (Poll::Ready(Some(Ok(frame))), Some(kept)) => frame
                .data_ref()
                .is_some_and(|chunk| kept.push(chunk.clone())),
            (Poll::Ready(Some(Err(_))), Some(_)) => false,
        };
        if !fits {
            self.kept = None;
        }
    }
}

impl Kept {
    fn push(&mut self, chunk: Bytes) -> bool {
        let Some(room) = self.room.checked_sub(chunk.len()) else {
            return false;
        };
        self.room = room;
        self.chunks.push(chunk);
        true
    }
}

/// hyper resets the stream with the reason it finds in what a body fails with.
fn cancelled() -> BoxError {
    h2::Error::from(h2::Reason::CANCEL).into()
}

/// The body as hyper has it.
struct Watched(Arc<Upload>);

impl Body for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        self.0.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.ask(ErasedBody::is_end_stream, || false)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.ask(ErasedBody::size_hint, SizeHint::default)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut state = self.0.locked();
        let unwanted = state.kept.is_none().then(|| state.body.take());
        drop(state);
        drop(unwanted);
        self.0.ended.store(true, Ordering::SeqCst);
        if let Some(lease) = self.0.parked.collect(|_| true) {
            lease.give_back();
        }
    }
}

/// A body that was begun before: what was taken of it, then the rest.
struct Again {
    chunks: vec::IntoIter<Bytes>,
    rest: ErasedBody,
}

impl Body for Again {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        if let Some(chunk) = self.chunks.next() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        Pin::new(&mut self.rest).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.len() == 0 && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let kept = self.chunks.as_slice().iter().map(Bytes::len).sum::<usize>() as u64;
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(kept));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(kept)) {
            hint.set_upper(upper);
        }
        hint
    }
}
