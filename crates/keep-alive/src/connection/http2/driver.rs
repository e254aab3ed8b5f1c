//! The driver of one HTTP/2 connection, which retires it after a GOAWAY.

mod credit;

use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::client::conn::http2::Connection;
use hyper::rt::{Read, Write};
use tokio::time::{Instant, Sleep, sleep_until};
use tollgate_core::{BoxError, CloseReason};

use super::Frames;
use super::executor::CapturingExecutor;
use crate::connection::conn::Conn;
use crate::connection::erased::ErasedBody;
use crate::connection::guarded::SharedWire;
use crate::connection::hand_over::HandOver;
use crate::connection::io::{ASKED, CLOSING};
use crate::connection::port::Port;

/// Drives one HTTP/2 connection until it closes.
pub(crate) struct Http2Driver<I>
where
    I: Read + Write + Unpin + Send + 'static,
{
    /// Hands requests over; gone once the peer takes no more, and dropped under the hand-over lock.
    requests: Option<Connection<I, ErasedBody, CapturingExecutor>>,
    hand_over: HandOver,
    frames: Frames,
    /// As the engine knows it; `None` if it was reported already.
    streams: Option<usize>,
    /// The peer has refused a stream and gets none until this is over.
    refused: Option<Pin<Box<Sleep>>>,
    max_streams: usize,
    port: Box<dyn Port>,
    conn: Arc<Conn>,
    wire: SharedWire,
    /// Ends not later than something on the wire is due.
    clock: Option<Pin<Box<Sleep>>>,
    retired: bool,
    ended: bool,
}

impl<I> Http2Driver<I>
where
    I: Read + Write + Unpin + Send + 'static,
{
    pub(super) fn new(
        requests: Connection<I, ErasedBody, CapturingExecutor>,
        frames: Frames,
        wire: SharedWire,
        max_streams: usize,
        port: Box<dyn Port>,
        conn: Arc<Conn>,
    ) -> Self {
        Self {
            requests: Some(requests),
            hand_over: conn.hand_over.clone(),
            frames,
            streams: None,
            refused: None,
            max_streams,
            port,
            conn,
            wire,
            clock: None,
            retired: false,
            ended: false,
        }
    }

    pub(super) fn hand_over(&self) -> HandOver {
        self.hand_over.clone()
    }

    pub(super) fn poll_first_word(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<NonZeroUsize, BoxError>> {
        let requests = self.poll_requests(cx);
        // Whatever the first came to: SETTINGS wake the frames alone.
        let over = self.frames.as_mut().poll(cx).is_ready();
        if let Some(streams) = NonZeroUsize::new(self.allowed()) {
            self.streams = Some(streams.get());
            return Poll::Ready(Ok(streams));
        }
        match requests {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            _ if over || requests.is_ready() => Poll::Ready(Err(self.end_before_first_word(cx))),
            _ => Poll::Pending,
        }
    }

    fn end_before_first_word(&mut self, cx: &mut Context<'_>) -> BoxError {
        self.ended = true;
        // hyper keeps the error of a connection for this half.
        match self.poll_requests(cx) {
            Poll::Ready(Err(error)) => error.into(),
            _ => "the peer closed the connection instead of beginning HTTP/2".into(),
        }
    }

    fn poll_requests(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        let Some(requests) = &mut self.requests else {
            return Poll::Pending;
        };
        let result = ready!(Pin::new(requests).poll(cx));
        // First: a lease that finds its sender closed would have no better reason.
        self.retire(&result);
        // What remains of it lets the frames end when the last stream has.
        self.drop_requests();
        Poll::Ready(result)
    }

    fn drop_requests(&mut self) {
        let requests = self.requests.take();
        // A request that is handed over in the middle of the drop would be lost (see `HandOver`).
        let _held = self.hand_over.hold();
        drop(requests);
    }

    /// The peer takes no more requests, or the connection is lost: those on their way go on as far as
    /// they can, and the others go elsewhere.
    fn retire(&self, result: &hyper::Result<()>) {
        // Read out first: the port locks its origin, and logs, neither of which is for under this lock.
        let (too_many_pings, requires_http1, answered) = {
            let wire = self.wire.lock();
            (
                wire.too_many_pings(),
                wire.requires_http1(),
                wire.has_answered(),
            )
        };
        if too_many_pings {
            self.port.slow_pings();
        }
        // Also if no request was on it to be told. The next connection is of another kind.
        if !(requires_http1 && self.port.require_http1()) {
            self.port.memory().ended(answered);
        }
        self.retire_for(match result {
            Ok(()) => CloseReason::PeerClose,
            Err(error) => super::reason_of(error),
        });
    }

    fn retire_for(&self, reason: CloseReason) {
        // Its replacement is dialled with that: a request that waits need not wait for those it still
        // serves.
        self.port.retires(&self.conn, reason);
    }

    /// Waits for what is due on the wire next; returns whether it is.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(due) = self.wire.lock().due(Instant::now()) else {
            return false;
        };
        let clock = self.clock.get_or_insert_with(|| Box::pin(sleep_until(due)));
        // One that ends earlier is left alone: most of what is due is put off by what comes.
        if clock.deadline() > due || clock.is_elapsed() {
            clock.as_mut().reset(due);
        }
        clock.as_mut().poll(cx).is_ready()
    }
}

impl<I> Future for Http2Driver<I>
where
    I: Read + Write + Unpin + Send + 'static,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Read first: a wish that arrives while hyper runs comes with a wake-up of its own.
        self.conn.io.driven_by(cx.waker());
        let flags = self.conn.io.flags();
        let closing = flags & CLOSING != 0;
        if !self.ended {
            // Before hyper's turn, in which what this adds is read and written.
            self.wire.lock().look(Instant::now());
            let _retired = self.poll_requests(cx);
            self.ended = self.frames.as_mut().poll(cx).is_ready();
            // What the frames have brought may be for the other half.
            let _retired = self.poll_requests(cx);
        }
        self.conn.io.note_run(flags);
        if self.ended {
            // It has a reason, but for a ping without answer: of that this half hears nothing.
            self.conn.set_reason(CloseReason::Error);
            return Poll::Ready(());
        }
        if closing {
            return Poll::Ready(());
        }
        if self.requests.is_some() {
            self.poll_refused(cx);
            self.adjust();
        }
        if self.poll_clock(cx) {
            // Due already: the look at it is at the start of a turn.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl<I> Drop for Http2Driver<I>
where
    I: Read + Write + Unpin + Send + 'static,
{
    fn drop(&mut self) {
        // Only a runtime that ends drops a driver that was not asked to end.
        self.conn.set_reason(CloseReason::Shutdown);
        self.drop_requests();
        // A lease that waits for a run finds the connection ended.
        self.conn.io.note_run(ASKED);
    }
}
