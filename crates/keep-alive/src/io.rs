//! The IO object of a pooled connection: a socket's place in the cap, and what its bytes tell.

mod state;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Wake, Waker, ready};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use std::mem::MaybeUninit;

use self::state::{AWAITING_HEAD, HEAD_ARRIVED};
pub(crate) use self::state::{CLOSING, IoState, TUNNEL};

/// Bytes of a response that may come before its final head: interim responses and the head itself.
/// hyper bounds one head at about 400 KiB and the number of interim ones not at all.
pub(crate) const MAX_HEAD_BYTES: usize = 512 * 1024;

/// A read whose bytes are to be counted goes through the stack in a piece of this size: every read
/// before the final head but the first, which brings nearly all heads and is bounded by hyper's buffer.
const STAGE: usize = 2048;

/// Stands between the reactor and the driver: notes that something is there to read, then wakes.
struct ReadWaker(Arc<IoState>);

impl Wake for ReadWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
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
        this.state.readable.store(false, Ordering::Release);
        let mut noting = Context::from_waker(this.waker);
        let exchange = this.state.exchange.load(Ordering::Acquire);
        let first = exchange == AWAITING_HEAD && this.state.reads.load(Ordering::Relaxed) == 0;
        let polled = if first || exchange == HEAD_ARRIVED {
            this.io.poll_read(&mut noting, buf)
        } else {
            poll_read_counting(this.io, &mut noting, buf, this.state)
        };
        if exchange == AWAITING_HEAD && matches!(polled, Poll::Ready(Ok(()))) {
            this.state.note_read();
        }
        *this.pending = polled.is_pending() && !this.state.may_become_tunnel();
        polled
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
        state.count(bytes.len())?;
    }
    Poll::Ready(Ok(()))
}

/// What writes and what reads wait with the same waker: TLS may have to read in order to write, and a
/// reader's waker that it replaced would leave a read waiting that nobody tells.
impl<I: Write, G> Write for PooledIo<I, G> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        let mut noting = Context::from_waker(this.state.noting(this.waker, cx.waker()));
        this.io.poll_write(&mut noting, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        let mut noting = Context::from_waker(this.state.noting(this.waker, cx.waker()));
        this.io.poll_flush(&mut noting)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        let mut noting = Context::from_waker(this.state.noting(this.waker, cx.waker()));
        this.io.poll_shutdown(&mut noting)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        let mut noting = Context::from_waker(this.state.noting(this.waker, cx.waker()));
        this.io.poll_write_vectored(&mut noting, bufs)
    }
}
