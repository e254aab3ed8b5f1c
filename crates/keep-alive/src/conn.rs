//! One connection, as its lease, its driver and its IO object share it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::time::Instant;
use tollgate_admission::{ResourceId, Slot};
use tollgate_core::{CloseReason, DialInfo};

use crate::io::{CLOSING, IoState};
use crate::lease::Lease;

/// One connection.
#[derive(Debug)]
pub(crate) struct Conn {
    /// Counted from 1 over the whole pool.
    pub(crate) number: u64,
    pub(crate) opened_at: Instant,
    pub(crate) dial: DialInfo,
    pub(crate) io: Arc<IoState>,
    /// HTTP/2: many leases at once, none of which is the connection's whole.
    pub(crate) has_streams: bool,
    /// The engine's name for it, once it has one.
    pub(crate) resource: OnceLock<ResourceId>,
    /// The lease that waits for hyper to finish.
    pub(crate) parked: Slot<Lease>,
    /// The peer has refused a stream, which its driver has yet to see.
    refused: AtomicBool,
    reason: OnceLock<CloseReason>,
    /// What it will have been if it closes before its exchange is settled.
    suspected: Mutex<Option<CloseReason>>,
    /// Since when a lease is parked.
    parked_since: Mutex<Option<Instant>>,
    /// Since when the lease is held that became a tunnel, until its end is told.
    tunnel_since: Mutex<Option<Instant>>,
}

impl Conn {
    pub(crate) fn new(number: u64, opened_at: Instant, dial: DialInfo, has_streams: bool) -> Self {
        Self {
            number,
            opened_at,
            dial,
            io: Arc::default(),
            has_streams,
            resource: OnceLock::new(),
            parked: Slot::new(),
            refused: AtomicBool::new(false),
            reason: OnceLock::new(),
            suspected: Mutex::new(None),
            parked_since: Mutex::new(None),
            tunnel_since: Mutex::new(None),
        }
    }

    /// The peer has refused a stream.
    pub(crate) fn refused(&self) {
        self.refused.store(true, Ordering::Release);
    }

    /// Whether the peer has refused a stream since this was asked last.
    pub(crate) fn take_refused(&self) -> bool {
        self.refused.swap(false, Ordering::AcqRel)
    }

    /// Why it was closed: what was said first counts.
    pub(crate) fn reason(&self) -> Option<CloseReason> {
        self.reason.get().copied()
    }

    /// If it closes now, this will have been why; `None` takes that back.
    pub(crate) fn suspect(&self, reason: Option<CloseReason>) {
        *self
            .suspected
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = reason;
    }

    pub(crate) fn suspected(&self) -> Option<CloseReason> {
        *self
            .suspected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_reason(&self, reason: CloseReason) {
        let _first_one_counts = self.reason.set(reason);
    }

    /// Makes the driver end in its next turn, whatever hyper is in the middle of.
    pub(crate) fn close(&self, reason: CloseReason) {
        self.set_reason(reason);
        self.io.close();
    }

    #[inline]
    pub(crate) fn is_closing(&self) -> bool {
        self.io.wishes() & CLOSING != 0
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

    fn tunnel(&self) -> MutexGuard<'_, Option<Instant>> {
        self.tunnel_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a lease is about to be parked.
    pub(crate) fn parks_now(&self) {
        *self
            .parked_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Since when a lease is parked, if one is.
    pub(crate) fn parked_since(&self) -> Option<Instant> {
        if !self.parked.is_occupied() {
            return None;
        }
        *self
            .parked_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
