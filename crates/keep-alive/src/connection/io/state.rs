//! What the bytes of a connection tell, and what is wanted of its driver.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::task::Waker;

use tokio::sync::Notify;

use super::MAX_HEAD_BYTES;
use super::greeting::Greeting;
use super::refusal::Refusal;

pub(super) const IDLE: u8 = 0;
pub(super) const AWAITING_HEAD: u8 = 1;
pub(super) const HEAD_ARRIVED: u8 = 2;

/// A wish: end.
pub(crate) const CLOSING: u8 = 1;
/// A wish: expect the connection to leave HTTP.
pub(crate) const TUNNEL: u8 = 2;
/// Known of the peer: it speaks HTTP/1.0, and takes no body without a length.
pub(crate) const HTTP10: u8 = 4;
/// A wish: write nothing more of the request, of which the peer wants no more, or can get no more.
pub(crate) const WRITES_NO_MORE: u8 = 8;

/// A wish: say that the driver runs.
pub(crate) const ASKED: u8 = 16;
/// Bytes have come while nothing was asked, and more have to before it is known what they are.
pub(crate) const DOUBTFUL: u8 = 32;

/// The state of one connection's bytes, for the pool.
#[derive(Debug, Default)]
pub(crate) struct IoState {
    pub(super) exchange: AtomicU8,
    /// Reads that have ended since the request was handed over, and the bytes of all but the first.
    pub(super) reads: AtomicUsize,
    received: AtomicUsize,
    unsolicited: AtomicBool,
    /// Bytes came while nothing was asked, and they were a 408.
    timed_out: AtomicBool,
    pub(super) readable: AtomicBool,
    refused_a_write: AtomicBool,
    flags: AtomicU8,
    /// What the first bytes of the connection were, if not HTTP/1.
    greeting: OnceLock<Option<Greeting>>,
    /// The peer's refusal, instead of its first bytes.
    refusal: OnceLock<Refusal>,
    pub(super) driver: OnceLock<Waker>,
    /// The driver has run since it was asked to.
    ran: Notify,
}

impl IoState {
    /// A request is about to be handed to hyper.
    #[inline]
    pub(crate) fn exchange_begins(&self) {
        // The counts before the exchange, whose release publishes them: a read that sees it counts from
        // zero.
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

    /// Returns true if any byte has come in since the request was handed over. `ended` means that
    /// the last read was the end of the stream, and was none.
    pub(crate) fn answered(&self, ended: bool) -> bool {
        self.reads.load(Ordering::Acquire) > usize::from(ended)
    }

    /// Returns true if a request has been handed over and its lease not yet given back.
    pub(crate) fn in_exchange(&self) -> bool {
        self.exchange.load(Ordering::SeqCst) != IDLE
    }

    /// Returns true if a 408 came in while nothing was asked: the peer closes an idle connection.
    pub(crate) fn peer_timed_out(&self) -> bool {
        self.timed_out.load(Ordering::Acquire)
    }

    /// Returns true if bytes came in while nothing was asked, and they were no goodbye.
    pub(crate) fn unsolicited(&self) -> bool {
        self.unsolicited.load(Ordering::Acquire)
    }

    /// Returns true if the peer's first bytes have come.
    #[inline]
    pub(super) fn has_greeted(&self) -> bool {
        self.greeting.get().is_some()
    }

    /// The protocol of the peer's first bytes, if it is known and not HTTP/1.
    pub(crate) fn greeting(&self) -> Option<Greeting> {
        self.greeting.get().copied().flatten()
    }

    /// A read has failed; keeps the error if the peer refuses the connection by it.
    #[cold]
    pub(super) fn read_failed(&self, error: io::Error) -> io::Error {
        if self.has_greeted() {
            return error;
        }
        match Refusal::of(error) {
            Ok(refusal) => self.refusal.get_or_init(|| refusal).clone().into_io(),
            Err(error) => error,
        }
    }

    /// The words in which the peer refused the connection, if it did.
    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        self.refusal.get()
    }

    /// Returns true if the reactor has announced something on this socket that the driver has not
    /// looked at.
    #[inline]
    pub(crate) fn unread(&self) -> bool {
        self.readable.load(Ordering::Acquire)
    }

    /// The connection may leave HTTP with the next exchange. From now on every read is one, since it
    /// may be another task's.
    pub(crate) fn allow_tunnel(&self) {
        self.flags.fetch_or(TUNNEL, Ordering::SeqCst);
        self.readable.store(true, Ordering::SeqCst);
    }

    #[inline]
    pub(crate) fn may_become_tunnel(&self) -> bool {
        self.flags() & TUNNEL != 0
    }

    /// The connection is to end, whatever it is in the middle of.
    pub(crate) fn close(&self) {
        self.flags.fetch_or(CLOSING, Ordering::SeqCst);
        self.wake_driver();
    }

    /// The driver has nothing more to drive.
    pub(crate) fn note_closing(&self) {
        self.flags.fetch_or(CLOSING, Ordering::SeqCst);
    }

    /// The peer has answered with HTTP/1.0.
    #[cold]
    pub(crate) fn note_http10(&self) {
        self.flags.fetch_or(HTTP10, Ordering::SeqCst);
    }

    /// Waits until the driver has run once more: then it has looked at what the reactor announced.
    ///
    /// Cancel safe: asking changes nothing.
    pub(crate) async fn driver_runs(&self) {
        // Made first: a driver that runs between the wish and the wait is not missed.
        let ran = self.ran.notified();
        self.flags.fetch_or(ASKED, Ordering::SeqCst);
        self.wake_driver();
        ran.await;
    }

    /// The driver has run since its `flags` were read, or never will again.
    pub(crate) fn note_run(&self, flags: u8) {
        if flags & ASKED != 0 {
            // Lowered before the answer: lowered after it, a question asked in between would be lost.
            self.flags.fetch_and(!ASKED, Ordering::SeqCst);
            self.ran.notify_waiters();
        }
    }

    /// The flags for the driver and of the peer: [`CLOSING`], [`TUNNEL`], [`HTTP10`],
    /// [`WRITES_NO_MORE`], [`ASKED`], [`DOUBTFUL`], nearly always nothing.
    #[inline]
    pub(crate) fn flags(&self) -> u8 {
        self.flags.load(Ordering::SeqCst)
    }

    /// Nothing more of the request is written; what the peer has said is still read.
    #[cold]
    pub(crate) fn stop_writing(&self) {
        self.flags.fetch_or(WRITES_NO_MORE, Ordering::SeqCst);
    }

    /// A write failed, since the peer's end is gone: the answer that it gave before that may be there to
    /// be read, also if the reactor has yet to announce it. The end of the stream comes behind it.
    #[cold]
    pub(super) fn write_failed(&self) {
        self.refused_a_write.store(true, Ordering::Release);
        self.stop_writing();
        self.readable.store(true, Ordering::SeqCst);
        self.wake_driver();
    }

    /// Returns true if a write failed since the peer's end is gone: it has not read all of the request.
    pub(crate) fn refused_a_write(&self) -> bool {
        self.refused_a_write.load(Ordering::Acquire)
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

    /// Bytes had come before this exchange began, and are its answer's.
    #[cold]
    pub(crate) fn was_answered(&self) {
        self.note_read();
    }

    /// Notes that a read has ended.
    pub(super) fn note_read(&self) {
        self.reads.fetch_add(1, Ordering::AcqRel);
    }

    /// Notes what the first bytes say of the peer's protocol.
    pub(super) fn note_greeting(&self, read: &[u8]) {
        self.greeting.get_or_init(|| Greeting::of(read));
    }

    /// Bytes have come while nothing was asked, too few to say what they are: no request is sent behind
    /// them.
    pub(super) fn doubt(&self) {
        self.flags.fetch_or(DOUBTFUL, Ordering::SeqCst);
    }

    /// Bytes have come while nothing was asked: a 408, or not.
    pub(super) fn note_stray(&self, timed_out: bool) {
        let seen = if timed_out || self.peer_timed_out() {
            &self.timed_out
        } else {
            &self.unsolicited
        };
        seen.store(true, Ordering::Release);
    }

    /// Counts bytes in.
    pub(super) fn count(&self, read: &[u8]) -> io::Result<()> {
        self.note_greeting(read);
        let bytes = read.len();
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The two flags were one bit for a while, and an upload that was to stop went on.
    #[tokio::test]
    async fn a_run_of_the_driver_resumes_no_upload() {
        let state = IoState::default();
        state.stop_writing();
        let runs = state.driver_runs();
        let both = async {
            tokio::task::yield_now().await;
            state.note_run(state.flags());
        };
        tokio::join!(runs, both);
        assert_eq!(state.flags(), WRITES_NO_MORE);
    }

    #[test]
    fn asking_for_a_run_stops_no_upload() {
        let state = IoState::default();
        state.flags.fetch_or(ASKED, Ordering::SeqCst);
        assert_eq!(state.flags() & WRITES_NO_MORE, 0);
    }
}
