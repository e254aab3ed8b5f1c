//! One connection, as its lease, its driver and its IO object share it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use tokio::runtime::Id;
use tokio::time::Instant;
use tollgate_admission::{ResourceId, Slot};
use tollgate_core::lock::lock;
use tollgate_core::{BoxError, CloseReason, DialInfo, SocketPeek, SocketState};

use crate::connection::guarded::SharedWire;
use crate::connection::hand_over::HandOver;
use crate::connection::io::{CLOSING, DOUBTFUL, HTTP10, IoState};
use crate::connection::parked::Parked;
use crate::connection::reread::Again;

const NANOS: u64 = 1_000_000_000;

/// A connection's age when an exchange on it ended, in nanoseconds; zero before the first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastEnd(u64);

/// One connection.
#[derive(Debug)]
pub(crate) struct Conn {
    /// Counted from 1 over the whole pool.
    pub(crate) number: u64,
    pub(crate) opened_at: Instant,
    pub(crate) dial: DialInfo,
    /// A look at its socket; `None` if the connector gave none.
    peek: Option<SocketPeek>,
    /// When its last response head came, in nanoseconds after it was opened; 0 if none has.
    last_head: AtomicU64,
    /// When its last exchange ended, counted alike.
    last_end: AtomicU64,
    pub(crate) io: Arc<IoState>,
    /// Where its driver runs.
    pub(crate) runtime: Id,
    /// HTTP/2: many leases at once, none of which is the connection's whole.
    pub(crate) is_http2: bool,
    /// The engine's name for it, once it has one.
    pub(crate) resource: OnceLock<ResourceId>,
    pub(crate) hand_over: HandOver,
    /// A head with more fields than it reads.
    pub(crate) again: Again,
    /// The lease that waits for hyper to finish.
    pub(crate) parked: Slot<Box<dyn Parked>>,
    /// The look at its frames, if it has streams.
    pub(crate) wire: OnceLock<SharedWire>,
    /// The peer has refused a stream, which its driver has yet to see.
    refused: AtomicBool,
    /// A lease has told the engine how many streams it takes, which its driver has yet to see.
    told: AtomicBool,
    reason: OnceLock<CloseReason>,
    // Each of these mutexes guards one value; nothing else happens under it.
    /// What it will have been if it closes before its exchange is settled.
    suspected: Mutex<Option<CloseReason>>,
    /// The time until which the lease may be parked.
    parked_until: Mutex<Option<Instant>>,
    /// Since when the lease is held that became a tunnel, until its end is told.
    tunnel_since: Mutex<Option<Instant>>,
}

impl Conn {
    pub(crate) fn new(
        number: u64,
        opened_at: Instant,
        (dial, peek): (DialInfo, Option<SocketPeek>),
        runtime: Id,
        is_http2: bool,
    ) -> Self {
        Self {
            runtime,
            number,
            opened_at,
            dial,
            peek,
            last_head: AtomicU64::new(0),
            last_end: AtomicU64::new(0),
            io: Arc::default(),
            is_http2,
            resource: OnceLock::new(),
            hand_over: HandOver::default(),
            again: Again::default(),
            parked: Slot::new(),
            wire: OnceLock::new(),
            refused: AtomicBool::new(false),
            told: AtomicBool::new(false),
            reason: OnceLock::new(),
            suspected: Mutex::new(None),
            parked_until: Mutex::new(None),
            tunnel_since: Mutex::new(None),
        }
    }

    /// A response head has come.
    #[inline]
    pub(crate) fn head_came(&self, at: Instant) {
        if !self.has_socket() {
            return;
        }
        self.last_head.store(self.age_at(at), Ordering::Relaxed);
    }

    /// An exchange has ended.
    #[inline]
    pub(crate) fn exchange_ended(&self, at: Instant) {
        // Relaxed: the next lease is made under the origin's lock, which the return of this one takes
        // after.
        self.last_end.store(self.age_at(at), Ordering::Relaxed);
    }

    /// In nanoseconds.
    #[inline]
    fn age_at(&self, at: Instant) -> u64 {
        let age = at.saturating_duration_since(self.opened_at);
        age.as_secs().wrapping_mul(NANOS) + u64::from(age.subsec_nanos())
    }

    /// Notes when its last exchange so far has ended.
    #[inline]
    pub(crate) fn last_end(&self) -> LastEnd {
        LastEnd(self.last_end.load(Ordering::Relaxed))
    }

    /// The time from the end of an exchange, or else since it was opened, to a grant. Not reckoned at the grant:
    /// few ask.
    pub(crate) fn idle_between(&self, end: LastEnd, granted_at: Instant) -> Duration {
        let open_for = granted_at.saturating_duration_since(self.opened_at);
        open_for.saturating_sub(Duration::from_nanos(end.0))
    }

    /// Returns true if the kernel can be asked about its socket.
    #[inline]
    pub(crate) fn has_socket(&self) -> bool {
        self.peek.is_some()
    }

    /// The time since the last response head, or else since it was opened.
    #[inline]
    pub(crate) fn quiet_for(&self, now: Instant) -> Duration {
        let open_for = now.saturating_duration_since(self.opened_at);
        open_for.saturating_sub(Duration::from_nanos(self.last_head.load(Ordering::Relaxed)))
    }

    /// The state of its socket, which the kernel knows before the reactor does; silent if there is no
    /// socket to look at.
    #[cold]
    pub(crate) fn socket_state(&self) -> SocketState {
        let peek = self.peek.as_ref();
        peek.map_or(SocketState::Silent, SocketPeek::peek)
    }

    /// The peer has refused a stream.
    pub(crate) fn refused(&self) {
        self.refused.store(true, Ordering::Release);
    }

    /// Whether the peer has refused a stream since this was asked last.
    pub(crate) fn take_refused(&self) -> bool {
        self.refused.swap(false, Ordering::AcqRel)
    }

    /// The engine was told that it takes no streams for the moment.
    pub(crate) fn told(&self) {
        self.told.store(true, Ordering::Release);
    }

    /// Whether that was so since this was asked last.
    pub(crate) fn take_told(&self) -> bool {
        self.told.swap(false, Ordering::AcqRel)
    }

    /// Returns true if its peer has ended it since it requires HTTP/1.1.
    pub(crate) fn requires_http1(&self) -> bool {
        let wire = self.wire.get();
        wire.is_some_and(|wire| wire.lock().requires_http1())
    }

    /// Returns true if no stream is open on it, as its frames show.
    #[cold]
    pub(crate) fn has_no_streams(&self) -> bool {
        let wire = self.wire.get();
        wire.is_some_and(|wire| wire.lock().has_no_streams())
    }

    /// Why it was closed: what was said first counts.
    pub(crate) fn reason(&self) -> Option<CloseReason> {
        self.reason.get().copied()
    }

    /// The failure of its dial that came after its handshake: the peer has refused it.
    pub(crate) fn refused_by_peer(&self) -> Option<BoxError> {
        let refusal = self.io.refusal()?;
        Some(refusal.as_failure(self.dial.tls.is_some()))
    }

    /// If it closes now, this will have been why; `None` takes that back.
    pub(crate) fn suspect(&self, reason: Option<CloseReason>) {
        *lock(&self.suspected) = reason;
    }

    pub(crate) fn suspected(&self) -> Option<CloseReason> {
        *lock(&self.suspected)
    }

    pub(crate) fn set_reason(&self, reason: CloseReason) {
        let _first_one_counts = self.reason.set(reason);
    }

    /// Makes the driver end in its next turn, whatever hyper is in the middle of.
    pub(crate) fn close(&self, reason: CloseReason) {
        // The reason first: a driver that sees the wish may end at once, and its IO reports with what
        // it finds.
        self.set_reason(reason);
        self.io.close();
    }

    #[inline]
    pub(crate) fn is_closing(&self) -> bool {
        self.io.flags() & CLOSING != 0
    }

    /// Returns true if a request that is sent on it has no answer to expect.
    #[inline]
    pub(crate) fn is_useless(&self) -> bool {
        self.io.flags() & (CLOSING | DOUBTFUL) != 0
    }

    /// Whether it is to end, or needs a look at what it may carry.
    #[inline]
    pub(crate) fn is_special(&self) -> bool {
        self.io.flags() & (CLOSING | HTTP10 | DOUBTFUL) != 0
    }

    /// Whether the peer takes a body only if its length is announced.
    pub(crate) fn wants_lengths(&self) -> bool {
        self.io.flags() & HTTP10 != 0
    }

    /// Whether it ends by itself now. A driver that hyper has left is closing too, and yet waits for its
    /// lease as long as that is held.
    pub(crate) fn is_told_to_close(&self) -> bool {
        self.is_closing() && self.reason().is_some()
    }

    /// The next exchange may turn the connection into something else than HTTP.
    pub(crate) fn allow_tunnel(&self) {
        self.io.allow_tunnel();
    }

    #[inline]
    pub(crate) fn may_become_tunnel(&self) -> bool {
        self.io.may_become_tunnel()
    }

    /// Notes that a lease that was granted then has become a tunnel.
    pub(crate) fn tunnels_since(&self, granted_at: Instant) {
        *self.tunnel() = Some(granted_at);
    }

    /// Since when the lease of the tunnel is held, for the one who tells its end.
    pub(crate) fn take_tunnel(&self) -> Option<Instant> {
        self.tunnel().take()
    }

    /// Whether a lease has become a tunnel, which is its user's.
    pub(crate) fn is_tunnel(&self) -> bool {
        self.tunnel().is_some()
    }

    fn tunnel(&self) -> MutexGuard<'_, Option<Instant>> {
        lock(&self.tunnel_since)
    }

    /// Notes that a lease is about to be parked, and until when it may be.
    pub(crate) fn parks_until(&self, until: Instant) {
        *lock(&self.parked_until) = Some(until);
    }

    /// The time until which the lease that was parked last may be.
    pub(crate) fn parked_until(&self) -> Option<Instant> {
        *lock(&self.parked_until)
    }
}
