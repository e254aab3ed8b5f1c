//! The IO object of an HTTP/2 connection: a socket's place in the cap, and the look at its frames.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use tokio::time::Instant;
use tollgate_core::lock::lock;

use crate::connection::http2::wire::{Pace, Wire};
use crate::connection::io::is_peer_gone;

/// A read goes through the stack in a piece of this size: the longest frame that peers send unless
/// they are allowed longer ones.
const STAGE: usize = 16 * 1024;

/// The frames of a connection, as its IO object, its driver and its leases share them.
///
/// The mutex guards state alone: no wake, no IO and no code of the caller's runs under it.
#[derive(Clone, Debug)]
pub(crate) struct SharedWire {
    wire: Arc<Mutex<Wire>>,
    pace: Pace,
}

impl SharedWire {
    pub(crate) fn new(wire: Wire) -> Self {
        Self {
            pace: wire.pace(),
            wire: Arc::new(Mutex::new(wire)),
        }
    }

    /// The silences after which the connection is pinged, which do not change.
    pub(crate) const fn pace(&self) -> Pace {
        self.pace
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Wire> {
        lock(&self.wire)
    }
}

/// A connection's IO with what must happen when it is dropped.
pub(crate) struct GuardedIo<I, G>
where
    I: Write + Unpin,
{
    // Declared in this order: the place is free again only when the socket is gone.
    io: I,
    _guard: G,
    wire: SharedWire,
    /// What was read and found no room.
    left: Vec<u8>,
    /// A frame of the pool's is written in part.
    amid: bool,
    /// The socket has ended or failed.
    over: bool,
    /// A write found the peer's end gone: what it said before that is read, and nothing is written.
    gone: bool,
}

impl<I, G> GuardedIo<I, G>
where
    I: Write + Unpin,
{
    pub(crate) const fn new(io: I, wire: SharedWire, guard: G) -> Self {
        Self {
            io,
            _guard: guard,
            wire,
            left: Vec::new(),
            amid: false,
            over: false,
            gone: false,
        }
    }

    /// Fails what is to fail, whether hyper reads or writes.
    fn check(&self) -> io::Result<()> {
        self.wire.lock().failure().map_or(Ok(()), Err)
    }

    /// Takes back to hyper what a write came to. It would end at a failure, and with that give up
    /// answers and a GOAWAY that may be there to be read: what can reach no one any more is taken for
    /// written.
    fn unless_gone<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
        taken: T,
    ) -> Poll<io::Result<T>> {
        match polled {
            Poll::Ready(Err(error)) if is_peer_gone(&error) => {
                self.over = true;
                self.gone = true;
                self.wire.lock().peer_gone(Instant::now());
                // The end of the stream comes behind what is there.
                cx.waker().wake_by_ref();
                Poll::Ready(Ok(taken))
            }
            polled => polled,
        }
    }

    /// Writes what the pool adds to hyper's frames.
    fn poll_outward(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            // Copied out: no IO under the lock.
            let bytes = {
                let wire = self.wire.lock();
                wire.failure().map_or(Ok(()), Err)?;
                wire.outward(self.amid).to_vec()
            };
            if bytes.is_empty() {
                self.amid = false;
                return Poll::Ready(Ok(()));
            }
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.wire.lock().wrote_outward(written);
            self.amid = written < bytes.len();
        }
    }

    /// What hyper writes next may stand behind what the pool has begun, and not amid it.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.amid {
            self.poll_outward(cx)
        } else {
            Poll::Ready(self.check())
        }
    }

    /// Passes on what hyper writes, in one piece or in several.
    fn poll_pass<'a>(
        &mut self,
        cx: &mut Context<'_>,
        pieces: impl Iterator<Item = &'a [u8]> + Clone,
        write: impl FnOnce(Pin<&mut I>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let all = pieces.clone().map(<[u8]>::len).sum();
        if self.gone {
            return Poll::Ready(self.check().map(|()| all));
        }
        let polled = match self.poll_turn(cx) {
            Poll::Ready(Ok(())) => {
                let written = ready!(write(Pin::new(&mut self.io), cx));
                Poll::Ready(self.written(written, pieces))
            }
            polled => polled.map_ok(|()| 0),
        };
        self.unless_gone(cx, polled, all)
    }

    /// Counts what hyper has written.
    fn written<'a>(
        &mut self,
        written: io::Result<usize>,
        bufs: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<usize> {
        let Ok(mut left) = written else {
            self.over = true;
            return written;
        };
        let (now, mut wire) = (Instant::now(), self.wire.lock());
        for buf in bufs {
            let here = left.min(buf.len());
            wire.wrote(&buf[..here], now);
            left -= here;
        }
        written
    }
}

impl<I, G> Read for GuardedIo<I, G>
where
    I: Read + Write + Unpin,
    G: Unpin,
{
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while buf.remaining() > 0 {
            // First: what goes outward waits until hyper has read these, so that no frame of a stream
            // follows its reset.
            let (inward, failure) = {
                let mut wire = this.wire.lock();
                (wire.take_inward(), wire.failure())
            };
            this.left.extend(inward.into_iter().flatten());
            if !this.left.is_empty() {
                let here = this.left.len().min(buf.remaining());
                buf.put_slice(&this.left[..here]);
                this.left.drain(..here);
                break;
            }
            // Only now: what came before the failure is hyper's to read.
            failure.map_or(Ok(()), Err)?;
            let size = buf.remaining().min(STAGE);
            let mut memory = [MaybeUninit::uninit(); STAGE];
            let mut staged = ReadBuf::uninit(&mut memory[..size]);
            let read = ready!(Pin::new(&mut this.io).poll_read(cx, staged.unfilled()));
            this.over |= read.is_err() || staged.filled().is_empty();
            read?;
            if staged.filled().is_empty() {
                if this.gone {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
                break;
            }
            if this.take(staged.filled(), &mut buf)? {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<I, G> GuardedIo<I, G>
where
    I: Write + Unpin,
{
    /// Passes on what was read; returns whether there was something to pass on. Nothing is left from
    /// before.
    fn take(&mut self, bytes: &[u8], buf: &mut ReadBufCursor<'_>) -> io::Result<bool> {
        let (left, mut any) = (&mut self.left, false);
        let mut wire = self.wire.lock();
        wire.read(bytes, Instant::now(), |piece| {
            // Heads that were held back may make more of it than was read.
            let room = if left.is_empty() { buf.remaining() } else { 0 };
            let (here, rest) = piece.split_at(room.min(piece.len()));
            buf.put_slice(here);
            left.extend(rest);
            any = true;
        });
        wire.failure().map_or(Ok(any), Err)
    }
}

impl<I, G> Write for GuardedIo<I, G>
where
    I: Write + Unpin,
    G: Unpin,
{
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut()
            .poll_pass(cx, std::iter::once(buf), |io, cx| io.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.gone {
            return Poll::Ready(this.check());
        }
        // In a flush, which comes when hyper has written all that it had: what is added stands behind
        // it.
        let polled = match this.poll_outward(cx) {
            Poll::Ready(Ok(())) => Pin::new(&mut this.io).poll_flush(cx),
            polled => polled,
        };
        this.unless_gone(cx, polled, ())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.over = true;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let pieces = bufs.iter().map(|buf| &**buf);
        self.get_mut()
            .poll_pass(cx, pieces, |io, cx| io.poll_write_vectored(cx, bufs))
    }
}

impl<I, G> Drop for GuardedIo<I, G>
where
    I: Write + Unpin,
{
    /// Says goodbye, as far as that goes within one poll: GOAWAY, and what closing means to the IO
    /// below, which of TLS is `close_notify`. The place is not held for it.
    fn drop(&mut self) {
        // Amid a frame of the pool's a GOAWAY would be read as the rest of it.
        if self.over || self.amid || std::thread::panicking() {
            return;
        }
        let Some(goodbye) = self.wire.lock().goodbye() else {
            return;
        };
        let cx = &mut Context::from_waker(Waker::noop());
        let io = &mut self.io;
        let said = Pin::new(&mut *io).poll_write(cx, &goodbye);
        if matches!(said, Poll::Ready(Ok(written)) if written == goodbye.len()) {
            let _as_far_as_it_goes = Pin::new(io).poll_shutdown(cx);
        }
    }
}
