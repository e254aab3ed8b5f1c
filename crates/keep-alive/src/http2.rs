//! One HTTP/2 connection: how it is opened, driven, and what its streams are worth.
//!
//! hyper runs an HTTP/2 connection as two futures: one hands requests over, the other, which hyper
//! gives to an executor, reads and writes frames. SETTINGS wake only the second. Ours catches that
//! one and polls both in one task, so that after each turn the number of streams that the peer allows
//! is known, and one abort ends everything.

mod catch;

use std::future::{Future, poll_fn};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::client::conn::http2::{Builder, Connection};
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioTimer;
use tokio::time::{Instant, Sleep, sleep};
use tollgate_core::{BoxError, CloseReason};

use self::catch::Catch;
use crate::conn::Conn;
use crate::erased::ErasedBody;
use crate::guarded::GuardedIo;
use crate::origin_pool::{OriginPool, Place};
use crate::protocol::Http2Options;
use crate::streams::{Door, Streams};

type Io<I> = GuardedIo<I, Place>;
type Frames = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Until the peer has said how many streams it allows, none are: its first word is awaited as part of
/// the open, and no request can pile up in hyper meanwhile.
const NOT_SAID: usize = 0;

/// A peer that has refused a stream is busy, or has just lowered its limit: what was refused goes
/// elsewhere, or waits this long.
const REFUSED_FOR: Duration = Duration::from_millis(100);

/// Drives one HTTP/2 connection until it closes.
pub(crate) struct Http2Driver<I>
where
    I: Read + Write + Unpin + Send + 'static,
{
    /// Hands requests over; gone once the peer takes no more, and dropped behind the door.
    requests: Option<Connection<Io<I>, ErasedBody, Catch>>,
    door: Door,
    frames: Frames,
    /// As the engine knows it; `None` if somebody else has told it.
    streams: Option<usize>,
    /// The peer has refused a stream and gets none until this is over.
    refused: Option<Pin<Box<Sleep>>>,
    max_streams: usize,
    origin: Arc<OriginPool>,
    conn: Arc<Conn>,
    ended: bool,
}

/// Opens HTTP/2 on a connection and waits for the peer's first word.
pub(crate) async fn open<I>(
    io: Io<I>,
    options: &Http2Options,
    origin: Arc<OriginPool>,
    conn: Arc<Conn>,
) -> Result<(Streams, NonZeroUsize, Http2Driver<I>), BoxError>
where
    I: Read + Write + Unpin + Send + 'static,
{
    let catch = Catch::default();
    let mut builder = Builder::new(catch.clone());
    builder
        .timer(TokioTimer::new())
        .initial_max_send_streams(NOT_SAID)
        .keep_alive_interval(options.ping_interval)
        .keep_alive_timeout(options.ping_timeout)
        .keep_alive_while_idle(true)
        .adaptive_window(options.adaptive_window);
    if let Some(bytes) = options.stream_window {
        builder.initial_stream_window_size(bytes);
    }
    if let Some(bytes) = options.connection_window {
        builder.initial_connection_window_size(bytes);
    }
    let (sender, requests) = builder.handshake(io).await?;
    let mut driver = Http2Driver {
        requests: Some(requests),
        door: Door::default(),
        frames: catch.caught(),
        streams: None,
        refused: None,
        max_streams: options.max_streams.get(),
        origin,
        conn,
        ended: false,
    };
    let streams = poll_fn(|cx| driver.poll_first_word(cx)).await?;
    Ok((Streams::new(sender, driver.door.clone()), streams, driver))
}

impl<I> Http2Driver<I>
where
    I: Read + Write + Unpin + Send + 'static,
{
    fn poll_first_word(&mut self, cx: &mut Context<'_>) -> Poll<Result<NonZeroUsize, BoxError>> {
        let requests = self.poll_requests(cx);
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

    /// How many streams there may be at once now.
    fn allowed(&self) -> usize {
        if self.refused.is_some() {
            return 0;
        }
        let requests = self.requests.as_ref();
        let peer = requests.map_or(0, Connection::current_max_send_streams);
        peer.min(self.max_streams)
    }

    fn poll_requests(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        let Some(requests) = &mut self.requests else {
            return Poll::Pending;
        };
        let result = ready!(Pin::new(requests).poll(cx));
        // First: a lease that finds its sender closed would have no better reason.
        self.retire(&result);
        // What it leaves behind lets the frames end when the last stream has.
        self.drop_requests();
        Poll::Ready(result)
    }

    fn drop_requests(&mut self) {
        let requests = self.requests.take();
        self.door.with(|| drop(requests));
    }

    /// The peer takes no more requests, or the connection is lost: those on their way go on as far as
    /// they can, and the others go elsewhere.
    fn retire(&self, result: &hyper::Result<()>) {
        let reason = match result {
            Ok(()) => CloseReason::PeerClose,
            Err(error) if crate::driver::is_end(error) => CloseReason::PeerEof,
            Err(_) => CloseReason::Error,
        };
        if let Some(&resource) = self.conn.resource.get() {
            self.origin
                .with(|inner| inner.engine.retire(resource, reason));
            // Replace it first: whoever waits need not wait for those it still serves.
            crate::dial::start(&self.origin);
        }
    }

    /// A refused stream leaves its peer in peace for a while.
    fn poll_refused(&mut self, cx: &mut Context<'_>) {
        if self.conn.take_refused() {
            self.streams = None;
            self.refused = Some(Box::pin(sleep(REFUSED_FOR)));
        }
        let over = |refused: &mut Pin<Box<Sleep>>| refused.as_mut().poll(cx).is_ready();
        if self.refused.as_mut().is_some_and(over) {
            self.refused = None;
        }
    }

    /// Tells the engine what the peer allows now.
    fn adjust(&mut self) {
        let streams = self.allowed();
        if self.streams == Some(streams) {
            return;
        }
        self.streams = Some(streams);
        if let Some(&resource) = self.conn.resource.get() {
            let now = Instant::now();
            self.origin
                .with(|inner| inner.engine.credit_changed(resource, now, streams));
            crate::dial::start(&self.origin);
        }
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
        let closing = self.conn.is_closing();
        if !self.ended {
            let _retired = self.poll_requests(cx);
            self.ended = self.frames.as_mut().poll(cx).is_ready();
            // What the frames have brought may be for the other half.
            let _retired = self.poll_requests(cx);
        }
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
        Poll::Pending
    }
}

impl<I> Drop for Http2Driver<I>
where
    I: Read + Write + Unpin + Send + 'static,
{
    fn drop(&mut self) {
        // Only a runtime that ends drops a driver that was not told to end.
        self.conn.set_reason(CloseReason::Shutdown);
        self.drop_requests();
    }
}

/// Whether the peer says that it did not process the request: it refused the stream, or left it out
/// when it announced its end.
pub(crate) fn is_unprocessed(error: &(dyn std::error::Error + 'static)) -> bool {
    tollgate_core::error::find::<h2::Error>(error).is_some_and(|error| {
        error.reason() == Some(h2::Reason::REFUSED_STREAM)
            || (error.is_go_away() && error.is_remote())
    })
}
