//! The IO object of a pooled connection: a socket's place in the cap, and what its bytes tell.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker, ready};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use std::mem::MaybeUninit;

/// Bytes of a response that may come before its final head: interim responses and the head itself.
/// hyper bounds one head at about 400 KiB and the number of interim ones not at all.
pub(crate) const MAX_HEAD_BYTES: usize = 512 * 1024;

/// While a head is awaited, reads go through the stack in pieces of this size, so that they can be
/// counted. If the first one comes back full, a direct read follows in the same poll, since most heads
/// are shorter and what follows is body; it is not counted.
const STAGE: usize = 2048;

const IDLE: u8 = 0;
const AWAITING_HEAD: u8 = 1;
const HEAD_ARRIVED: u8 = 2;

/// What the bytes of one connection tell the pool.
#[derive(Debug, Default)]
pub(crate) struct IoState {
    exchange: AtomicU8,
    received: AtomicUsize,
    unsolicited: AtomicBool,
    readable: AtomicBool,
    driver: OnceLock<Waker>,
}

impl IoState {
    /// A request is about to be handed to hyper.
    pub(crate) fn exchange_begins(&self) {
        self.received.store(0, Ordering::Relaxed);
        self.exchange.store(AWAITING_HEAD, Ordering::Release);
    }

    pub(crate) fn head_arrived(&self) {
        self.exchange.store(HEAD_ARRIVED, Ordering::Release);
    }

    pub(crate) fn exchange_ended(&self) {
        self.exchange.store(IDLE, Ordering::Release);
    }

    /// Whether any byte has come in since the request was handed over.
    pub(crate) fn answered(&self) -> bool {
        self.received.load(Ordering::Acquire) > 0
    }

    /// Whether a request has been handed over and its lease not yet given back.
    pub(crate) fn in_exchange(&self) -> bool {
        self.exchange.load(Ordering::Acquire) != IDLE
    }

    /// Whether bytes came in while nothing was asked.
    pub(crate) fn unsolicited(&self) -> bool {
        self.unsolicited.load(Ordering::Acquire)
    }

    /// Whether the reactor has announced something on this socket that the driver has not looked at.
    pub(crate) fn unread(&self) -> bool {
        self.readable.load(Ordering::Acquire)
    }

    /// The waker to wait with: `own`, if it is the driver that waits.
    fn noting<'a>(&self, own: &'a Waker, caller: &'a Waker) -> &'a Waker {
        match self.driver.get() {
            Some(driver) if driver.will_wake(caller) => own,
            _ => caller,
        }
    }

    /// Makes the driver run.
    pub(crate) fn wake_driver(&self) {
        if let Some(driver) = self.driver.get() {
            driver.wake_by_ref();
        }
    }

    /// Counts bytes in; gives how many came so far in this exchange.
    fn count(&self, bytes: usize) -> io::Result<usize> {
        if self.exchange.load(Ordering::Acquire) == IDLE {
            self.unsolicited.store(true, Ordering::Release);
            return Ok(bytes);
        }
        let received = self.received.fetch_add(bytes, Ordering::AcqRel) + bytes;
        if received > MAX_HEAD_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{received} bytes of interim responses and no final one"),
            ));
        }
        Ok(received)
    }
}

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
        // A read is pending, and `waker` will tell when there is something.
        pending: bool,
        // What the second read of a turn ran into, told at the next.
        deferred: Option<io::Error>,
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
            deferred: None,
        }
    }
}

impl<I: Read, G> Read for PooledIo<I, G> {
    fn poll_read(
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
        // hyper looks at the socket whenever it is polled, for whatever reason.
        if *this.pending && !this.state.unread() {
            return Poll::Pending;
        }
        this.state.readable.store(false, Ordering::Release);
        let mut noting = Context::from_waker(this.waker);
        let polled = match this.deferred.take() {
            Some(error) => Poll::Ready(Err(error)),
            None if this.state.exchange.load(Ordering::Acquire) == HEAD_ARRIVED => {
                this.io.poll_read(&mut noting, buf)
            }
            None => poll_read_counting(this.io, &mut noting, buf, this.state, this.deferred),
        };
        *this.pending = polled.is_pending();
        polled
    }
}

/// Reads, and counts what was read.
#[inline(never)]
fn poll_read_counting<I: Read>(
    mut io: Pin<&mut I>,
    noting: &mut Context<'_>,
    mut buf: ReadBufCursor<'_>,
    state: &IoState,
    deferred: &mut Option<io::Error>,
) -> Poll<io::Result<()>> {
    let size = buf.remaining().min(STAGE);
    let mut memory = [MaybeUninit::uninit(); STAGE];
    let mut staged = ReadBuf::uninit(&mut memory[..size]);
    ready!(io.as_mut().poll_read(noting, staged.unfilled()))?;
    let bytes = staged.filled();
    if bytes.is_empty() {
        return Poll::Ready(Ok(()));
    }
    buf.put_slice(bytes);
    let received = state.count(bytes.len())?;
    if bytes.len() == received
        && received == size
        && buf.remaining() > 0
        && let Poll::Ready(Err(error)) = io.poll_read(noting, buf)
    {
        *deferred = Some(error);
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
