//! A response head that is read again, by a parser that takes more fields.
//!
//! hyper ends a connection whose response has more header fields than it was made for. The bytes are still
//! in its buffer: a second half of hyper's reads them, for a stand-in of the request that is never
//! written. So the fields are bounded by what an origin sends, and the request that meets them first is
//! answered, whatever its method.

use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use hyper::client::conn::http1::SendRequest;
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::sync::oneshot;
use tollgate_core::lock::lock;

use crate::connection::erased::ErasedBody;

/// The sender for the stand-in.
pub(crate) type Asked = oneshot::Sender<SendRequest<ErasedBody>>;

/// The question of a lease to its connection's driver.
///
/// The mutex guards one move of the state.
#[derive(Debug, Default)]
pub(crate) struct Again(Mutex<State>);

/// Unasked → Asked → Unasked; both → Over, when the driver ends.
#[derive(Debug, Default)]
enum State {
    #[default]
    Unasked,
    Asked(Asked),
    Over,
}

impl Again {
    /// Asks; the receiver fails if the driver has ended, or does.
    pub(crate) fn ask(&self) -> oneshot::Receiver<SendRequest<ErasedBody>> {
        let (asked, answer) = oneshot::channel();
        self.change(|state| match state {
            // The question is dropped here, which answers it.
            State::Over => State::Over,
            State::Unasked | State::Asked(_) => State::Asked(asked),
        });
        answer
    }

    /// Returns the question that was asked since this was called last.
    pub(crate) fn take(&self) -> Option<Asked> {
        let mut taken = None;
        self.change(|state| match state {
            State::Asked(asked) => {
                taken = Some(asked);
                State::Unasked
            }
            other => other,
        });
        taken
    }

    /// Nothing that is asked from now on is answered.
    pub(crate) fn end(&self) {
        self.change(|_| State::Over);
    }

    fn change(&self, to: impl FnOnce(State) -> State) {
        let mut state = lock(&self.0);
        *state = to(std::mem::take(&mut state));
    }
}

pin_project_lite::pin_project! {
    /// An IO object whose last bytes are read again, once the stand-in was taken for written.
    pub(crate) struct Rewound<I> {
        #[pin]
        io: I,
        unread: Bytes,
        // Nothing of the stand-in has come: hyper takes what it reads before for a stray answer.
        waits: bool,
    }
}

impl<I> Rewound<I> {
    pub(crate) const fn new(io: I, unread: Bytes) -> Self {
        Self {
            io,
            unread,
            waits: true,
        }
    }

    pub(crate) fn into_inner(self) -> I {
        self.io
    }
}

impl<I: Read> Read for Rewound<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.project();
        if *this.waits {
            // The write that ends this wakes.
            return Poll::Pending;
        }
        if this.unread.is_empty() {
            return this.io.poll_read(cx, buf);
        }
        let length = this.unread.len().min(buf.remaining());
        buf.put_slice(&this.unread[..length]);
        this.unread.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<I: Write> Write for Rewound<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        if std::mem::take(this.waits) {
            cx.waker().wake_by_ref();
            return Poll::Ready(Ok(buf.len()));
        }
        this.io.poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_shutdown(cx)
    }

    // One write takes the whole stand-in: without this hyper may write its head in two parts.
    fn is_write_vectored(&self) -> bool {
        false
    }
}
