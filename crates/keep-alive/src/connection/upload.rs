//! The request body of one stream: what it takes to send it again, and the lease until it has ended.
//!
//! A stream counts against what the peer allows until both sides have ended it, so a lease that ends
//! with its response while the request's body is still on its way waits here for that.

mod again;
mod failure;
mod kept;
mod latest;

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tollgate_admission::Slot;
use tollgate_core::BoxError;
use tollgate_core::lock::lock;

use self::again::Again;
pub(crate) use self::failure::Failure;
use self::kept::Kept;
pub(crate) use self::latest::Uploads;
use crate::connection::erased::ErasedBody;
use crate::connection::parked::Parked;

type Polled = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

/// The part of a request's body that the sender of a stream and hyper share.
pub(crate) struct Upload {
    state: Mutex<State>,
    ended: AtomicBool,
    parked: Slot<Box<dyn Parked>>,
    uploads: Uploads,
}

struct State {
    /// Away while it is polled, and for good once it was reclaimed: no code of the caller's runs
    /// under the lock.
    body: Option<ErasedBody>,
    /// The frames taken of the body; `None` once that cannot be sent again.
    kept: Option<Kept>,
    cancelled: bool,
    /// The body's own error, which hyper resets the stream for and tells of as its user's.
    failure: Option<Failure>,
    /// hyper has polled it.
    begun: bool,
    waker: Option<Waker>,
}

impl Upload {
    /// Puts itself between a body that is not empty and hyper. Keeps up to `room` bytes of what hyper
    /// takes.
    pub(crate) fn of(body: &mut ErasedBody, room: usize, uploads: Uploads) -> Option<Arc<Self>> {
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
                failure: None,
                begun: false,
                waker: None,
            }),
            ended: AtomicBool::new(false),
            parked: Slot::new(),
            uploads,
        });
        *body = ErasedBody::unended(Watched(upload.clone()));
        Some(upload)
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Returns true if hyper is done with the body.
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

    /// The request is not sent again: nothing of its body is kept, nor the body itself once it has ended.
    pub(crate) fn keep_nothing(&self) {
        let mut state = self.locked();
        let kept = state.kept.take();
        let spent = self.has_ended().then(|| state.body.take());
        drop(state);
        // After the unlock: a body is the caller's code to drop.
        drop((kept, spent));
    }

    /// The body's own error, if it ended with one.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.locked().failure.clone()
    }

    /// Returns true if it was cancelled; `waker` is woken if it is later.
    pub(crate) fn is_cancelled(&self, waker: &Waker) -> bool {
        let mut state = self.locked();
        // Under the lock that `cancel` takes: one that comes after this look finds the waker.
        if !state.cancelled {
            state.waker = Some(waker.clone());
        }
        state.cancelled
    }

    /// The exchange is cancelled: the stream is reset, whatever its body waits for.
    pub(crate) fn cancel(&self) {
        let mut state = self.locked();
        state.cancelled = true;
        let waker = state.waker.take();
        drop(state);
        // After the unlock: what is woken may lock this at once.
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Holds the lease until the body has ended; gives it back if it has.
    pub(crate) fn park(&self, lease: Box<dyn Parked>) -> Option<Box<dyn Parked>> {
        self.parked.park(lease, |_| self.has_ended())
    }

    /// Asks the body something; `away` is the answer if it was reclaimed.
    fn ask<T>(&self, ask: impl FnOnce(&ErasedBody) -> T, away: impl FnOnce() -> T) -> T {
        let body = self.locked().body.take();
        let Some(body) = body else {
            return away();
        };
        // With the lock open, as a body is the caller's code.
        let answer = ask(&body);
        self.locked().body = Some(body);
        answer
    }

    fn poll_frame(self: &Arc<Self>, cx: &mut Context<'_>) -> Polled {
        let mut state = self.locked();
        if !std::mem::replace(&mut state.begun, true) {
            // Before the poll: if the body has not ended by it, hyper spawns its sending, and the
            // executor asks whose that is.
            self.uploads.polled(self);
        }
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
            // The spent one is dropped here, while the lock is open.
            body = ErasedBody::EMPTY;
        }
        let (polled, failure) = Failure::shared(polled);
        let mut state = self.locked();
        state.failure = state.failure.take().or(failure);
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
        // Under the lock: either this or the end of what is kept finds that the body is spent.
        self.0.ended.store(true, Ordering::SeqCst);
        let unwanted = state.kept.is_none().then(|| state.body.take());
        drop(state);
        drop(unwanted);
        // After the end is noted, as `park` looks for the end after it has stored: one of the two finds
        // the lease.
        if let Some(lease) = self.0.parked.collect(|_| true) {
            lease.give_back();
        }
    }
}
