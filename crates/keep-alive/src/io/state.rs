//! What the bytes of a connection tell, and what is wanted of its driver.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::task::Waker;

use super::MAX_HEAD_BYTES;

const IDLE: u8 = 0;
pub(super) const AWAITING_HEAD: u8 = 1;
pub(super) const HEAD_ARRIVED: u8 = 2;

/// A wish: end.
pub(crate) const CLOSING: u8 = 1;
/// A wish: expect the connection to leave HTTP.
pub(crate) const TUNNEL: u8 = 2;

/// What the bytes of one connection tell the pool.
#[derive(Debug, Default)]
pub(crate) struct IoState {
    pub(super) exchange: AtomicU8,
    /// Reads that have ended since the request was handed over, and the bytes of all but the first.
    pub(super) reads: AtomicUsize,
    received: AtomicUsize,
    unsolicited: AtomicBool,
    pub(super) readable: AtomicBool,
    wishes: AtomicU8,
    pub(super) driver: OnceLock<Waker>,
}

impl IoState {
    /// A request is about to be handed to hyper.
    #[inline]
    pub(crate) fn exchange_begins(&self) {
        self.reads.store(0, Ordering::Relaxed);
        self.received.store(0, Ordering::Relaxed);
        self.exchange.store(AWAITING_HEAD, Ordering::Release);
    }

    #[inline]
    pub(crate) fn head_arrived(&self) {
        self.exchange.store(HEAD_ARRIVED, Ordering::Release);
    }

    /// Sequentially consistent with [`note_closing`](Self::note_closing): of a lease that is given
    /// back and a driver that has ended, whoever comes second sees the other.
    #[inline]
    pub(crate) fn exchange_ended(&self) {
        self.exchange.store(IDLE, Ordering::SeqCst);
    }

    /// Whether any byte has come in since the request was handed over. `ended` says that the last read
    /// told the end of the stream, and was none.
    pub(crate) fn answered(&self, ended: bool) -> bool {
        self.reads.load(Ordering::Acquire) > usize::from(ended)
    }

    /// Whether a request has been handed over and its lease not yet given back.
    pub(crate) fn in_exchange(&self) -> bool {
        self.exchange.load(Ordering::SeqCst) != IDLE
    }

    /// Whether bytes came in while nothing was asked.
    pub(crate) fn unsolicited(&self) -> bool {
        self.unsolicited.load(Ordering::Acquire)
    }

    /// Whether the reactor has announced something on this socket that the driver has not looked at.
    #[inline]
    pub(crate) fn unread(&self) -> bool {
        self.readable.load(Ordering::Acquire)
    }

    /// The connection may leave HTTP with the next exchange. From now on every read is one, since it
    /// may be another task's.
    pub(crate) fn allow_tunnel(&self) {
        self.wishes.fetch_or(TUNNEL, Ordering::SeqCst);
        self.readable.store(true, Ordering::SeqCst);
    }

    #[inline]
    pub(crate) fn may_become_tunnel(&self) -> bool {
        self.wishes() & TUNNEL != 0
    }

    /// The connection is to end, whatever it is in the middle of.
    pub(crate) fn close(&self) {
        self.wishes.fetch_or(CLOSING, Ordering::SeqCst);
        self.wake_driver();
    }

    /// The driver has nothing more to drive.
    pub(crate) fn note_closing(&self) {
        self.wishes.fetch_or(CLOSING, Ordering::SeqCst);
    }

    /// What is wanted of the driver: [`CLOSING`], [`TUNNEL`], nearly always nothing.
    #[inline]
    pub(crate) fn wishes(&self) -> u8 {
        self.wishes.load(Ordering::SeqCst)
    }

    /// The waker to write with: `own`, as long as it is the driver that writes.
    #[inline]
    pub(super) fn noting<'a>(&self, own: &'a Waker, caller: &'a Waker) -> &'a Waker {
        if self.may_become_tunnel() {
            caller
        } else {
            own
        }
    }

    /// Notes who drives, for a connection whose reads do not tell.
    pub(crate) fn driven_by(&self, waker: &Waker) {
        self.driver.get_or_init(|| waker.clone());
    }

    /// Makes the driver run.
    pub(crate) fn wake_driver(&self) {
        if let Some(driver) = self.driver.get() {
            driver.wake_by_ref();
        }
    }

    /// Notes that a read has ended.
    pub(super) fn note_read(&self) {
        self.reads.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts bytes in.
    pub(super) fn count(&self, bytes: usize) -> io::Result<()> {
        if self.exchange.load(Ordering::Acquire) == IDLE {
            self.unsolicited.store(true, Ordering::Release);
            return Ok(());
        }
        let received = self.received.fetch_add(bytes, Ordering::AcqRel) + bytes;
        if received > MAX_HEAD_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{received} bytes of interim responses and no final one"),
            ));
        }
        Ok(())
    }
}
