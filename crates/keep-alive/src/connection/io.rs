//! The IO object of a pooled connection: a socket's place in the cap, and what its bytes tell.

mod greeting;
mod refusal;
mod state;
mod stray;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Wake, Waker, ready};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use std::mem::MaybeUninit;

pub(crate) use self::greeting::Greeting;
pub(crate) use self::state::{ASKED, CLOSING, DOUBTFUL, HTTP10, IoState, TUNNEL};
use self::state::{AWAITING_HEAD, HEAD_ARRIVED, IDLE, WRITES_NO_MORE};
use self::stray::Stray;

/// Bytes of a response that may come before its final head: interim responses and the head itself.
/// hyper bounds one head at about 400 KiB and the number of interim ones not at all.
pub(crate) const MAX_HEAD_BYTES: usize = 512 * 1024;

/// A read whose bytes are looked at goes through the stack in a piece of this size: every read before the
/// final head but the first of a request, which brings nearly all heads and is bounded by hyper's buffer;
/// and the first of a connection, which shows what the peer speaks.
const STAGE: usize = 2048;

/// Stands between the reactor and the driver: notes that something is there to read, then wakes.
struct ReadWaker(Arc<IoState>);

impl Wake for ReadWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Noted before the wake: a driver that ran first would find its read pending, and not look.
        self.0.readable.store(true, Ordering::Release);
        self.0.wake_driver();
    }
}

pin_project_lite::pin_project! {
    /// A connection's IO with what must happen when it is dropped.
    pub(crate) struct PooledIo<I, G> {
        // Declared in this order: the place is free again only when the socket is gone.
        #[pin]
        io: I,
        guard: G,
        state: Arc<IoState>,
        waker: Waker,
        // The driver's read is pending, and `waker` will tell when there is something.
        pending: bool,
        // Not passed on until it is clear what it is.
        stray: Stray,
    }
}

impl<I, G> PooledIo<I, G> {
    pub(crate) fn new(io: I, state: Arc<IoState>, guard: G) -> Self {
        let waker = Waker::from(Arc::new(ReadWaker(state.clone())));
        Self {
            io,
            guard,
            state,
            waker,
            pending: false,
            stray: Stray::default(),
        }
    }
}

impl<I: Read, G> Read for PooledIo<I, G> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // hyper looks at the socket whenever it is polled, for whatever reason.
        if self.pending && !self.state.unread() {
            return Poll::Pending;
        }
        self.poll_read_again(cx, buf)
    }
}

impl<I: Read, G> PooledIo<I, G> {
    #[inline(never)]
    fn poll_read_again(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.project();
        let driver = this.state.driver.get_or_init(|| cx.waker().clone());
        // After an upgrade another task reads; its wake-ups are not the driver's.
        if !driver.will_wake(cx.waker()) {
            *this.pending = false;
            return this.io.poll_read(cx, buf);
        }
        // Lowered before the read: what the reactor announces during it stays noted.
        this.state.readable.store(false, Ordering::Release);
        let mut noting = Context::from_waker(this.waker);
        let exchange = this.state.exchange.load(Ordering::Acquire);
        if exchange != IDLE && this.stray.is_some() {
            // A request has met the bytes that were there before it: what follows is no answer to it.
            this.state.note_stray(false);
            return Poll::Ready(Ok(()));
        }
        let first = exchange == AWAITING_HEAD
            && this.state.reads.load(Ordering::Relaxed) == 0
            && this.state.has_greeted();
        let polled = if first || exchange == HEAD_ARRIVED {
            this.io.poll_read(&mut noting, buf)
        } else if exchange == IDLE {
            poll_read_stray(this.io, &mut noting, buf, this.state, this.stray)
        } else {
            poll_read_counting(this.io, &mut noting, buf, this.state)
        };
        if exchange == AWAITING_HEAD && matches!(polled, Poll::Ready(Ok(()))) {
            // The end of the stream counts too, which `answered` takes off again.
            this.state.note_read();
        }
        // A request may meet the stray bytes in hand, and reads of a tunnel may be another task's:
        // neither waits for the reactor to announce more.
        let looks_again = this.stray.is_some() || this.state.may_become_tunnel();
        *this.pending = polled.is_pending() && !looks_again;
        polled.map_err(|error| this.state.read_failed(error))
    }
}

/// Reads, and counts what was read.
#[cold]
fn poll_read_counting<I: Read>(
    io: Pin<&mut I>,
    noting: &mut Context<'_>,
    mut buf: ReadBufCursor<'_>,
    state: &IoState,
) -> Poll<io::Result<()>> {
    let size = buf.remaining().min(STAGE);
    let mut memory = [MaybeUninit::uninit(); STAGE];
    let mut staged = ReadBuf::uninit(&mut memory[..size]);
    ready!(io.poll_read(noting, staged.unfilled()))?;
    let bytes = staged.filled();
    if !bytes.is_empty() {
        buf.put_slice(bytes);
        state.count(bytes)?;
    }
    Poll::Ready(Ok(()))
}

/// Reads while nothing is asked. What comes is held back until it is clear whether it is a goodbye, since
/// hyper ends at the first byte; the connection takes no request meanwhile.
#[cold]
fn poll_read_stray<I: Read>(
    mut io: Pin<&mut I>,
    noting: &mut Context<'_>,
    mut buf: ReadBufCursor<'_>,
    state: &IoState,
    stray: &mut Stray,
) -> Poll<io::Result<()>> {
    let size = buf.remaining().min(STAGE);
    loop {
        let mut memory = [MaybeUninit::uninit(); STAGE];
        let mut staged = ReadBuf::uninit(&mut memory[..size]);
        let read = ready!(io.as_mut().poll_read(noting, staged.unfilled()));
        let bytes = staged.filled();
        if read.is_err() || bytes.is_empty() {
            if stray.is_some() {
                state.note_stray(false);
            }
            return Poll::Ready(read);
        }
        state.note_greeting(bytes);
        if let Some(timed_out) = stray.push(bytes) {
            state.note_stray(timed_out);
            buf.put_slice(bytes);
            return Poll::Ready(Ok(()));
        }
        state.doubt();
    }
}

/// Reads and writes wait with the same waker: TLS may have to read in order to write, and a
/// reader's waker that it replaced would be a lost wakeup.
impl<I: Write, G> PooledIo<I, G> {
    /// Ends the writing half, whatever the exchange has come to.
    pub(crate) fn poll_goodbye(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        if this.state.may_become_tunnel() {
            return this.io.poll_shutdown(cx);
        }
        this.io.poll_shutdown(&mut Context::from_waker(this.waker))
    }

    #[inline]
    fn poll_writing<T>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut I>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let this = self.project();
        let flags = this.state.flags();
        if flags & (TUNNEL | WRITES_NO_MORE) != 0 {
            return if flags & TUNNEL != 0 {
                // It may be another task that writes.
                write(this.io, cx)
            } else {
                // No waker: nothing is written any more, and what ends the exchange is read.
                Poll::Pending
            };
        }
        let polled = write(this.io, &mut Context::from_waker(this.waker));
        if let Poll::Ready(Err(error)) = &polled
            && is_peer_gone(error)
            && this.state.in_exchange()
        {
            // hyper would give the exchange up, and with that an answer which is there already.
            this.state.write_failed();
            return Poll::Pending;
        }
        polled
    }
}

/// Returns true if a write finds the peer's end gone, so that a read ends too.
#[cold]
pub(crate) fn is_peer_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::NotConnected
    )
}

impl<I: Write, G> Write for PooledIo<I, G> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_writing(cx, |io, cx| io.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_writing(cx, I::poll_flush)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.state.exchange.load(Ordering::Acquire) == AWAITING_HEAD {
            // hyper gives up on a head that it has not understood, and the driver may read it again.
            return Poll::Ready(Ok(()));
        }
        self.poll_goodbye(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_writing(cx, |io, cx| io.poll_write_vectored(cx, bufs))
    }
}
