//! The state of one origin under its lock: the engine, and the connections that it decides about.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tollgate_admission::{Gone, Machine, Pool};
use tollgate_core::{BoxError, CloseReason, Origin, QueueOrder};

use crate::connection::conn::Conn;
use crate::pool::closing::Closing;
use crate::pool::entries::Entry;
use crate::pool::runtimes::Runtimes;
use crate::pool::shared::Shared;
use crate::pool::total::Share;

/// The time that a finished response waits for the upload of its request: then the connection is
/// closed. A choice, not a measurement: what was on its way when the answer came has arrived by then, on
/// any path that a pool is used on, and a place is not held for a peer that has said all it will say.
pub(super) const STUCK_AFTER: Duration = Duration::from_millis(50);

/// The time within which a request sees that its connection was lost, if its task runs at all.
const JUST_NOW: Duration = Duration::from_secs(1);

/// Why a dial failed: one value for every request that it failed.
pub(crate) type DialFailure = Arc<BoxError>;

/// The state of one origin.
pub(crate) struct Inner {
    pub(crate) engine: Pool<DialFailure>,
    /// The cap that was asked for; that of the engine is lower for HTTP/2.
    pub(crate) limit: NonZeroUsize,
    /// The last connection spoke HTTP/2.
    pub(crate) is_http2: bool,
    /// By the resource's index.
    pub(crate) conns: Vec<Option<Entry>>,
    pub(crate) closed_by: [u64; CloseReason::ALL.len()],
    /// Bodies dropped early whose rest was at hand, so that the connection lived on.
    pub(crate) drained: u64,
    /// The time until which connections are not reused, after bytes that no request asked for.
    pub(crate) quarantined_until: Option<Instant>,
    /// The time at which the lease that has waited longest for its upload to end is given up.
    pub(crate) stuck_at: Option<Instant>,
    /// The refusal of the last connection that its peer refused after the handshake.
    pub(super) refused: Option<(Instant, DialFailure)>,
    pub(crate) runtimes: Runtimes,
    /// Its part in the total cap.
    pub(crate) share: Share,
    /// Those of its connections whose places others wait for.
    pub(super) closing: Closing,
    pub(super) settled: Settled,
}

/// The state that the last transaction left, and what follows was derived from.
#[derive(Default)]
pub(super) struct Settled {
    /// The connections that are gone since then.
    pub(super) gone: Vec<(Gone, Entry)>,
    pub(super) sockets: usize,
    /// Something else changed that the engine does not know of.
    pub(super) stale: bool,
    /// The time at which the clock looks here next.
    pub(super) scheduled: Option<Instant>,
    /// The time since which there has been nothing here.
    pub(super) unused_since: Option<Instant>,
    /// Out of the table of origins, for good.
    pub(super) forgotten: bool,
    /// What the observer has: the cap, the draining connections, the streams, the requests that wait
    /// for a dial, the order.
    pub(super) limit: usize,
    pub(super) draining: usize,
    pub(super) streams: usize,
    pub(super) dialling: usize,
    pub(super) order: QueueOrder,
}

impl Inner {
    pub(super) fn new(origin: &Origin, shared: &Shared) -> Self {
        let (config, now) = (&shared.config, Instant::now());
        let limit = shared.limit_of(origin);
        let is_http2 = config.protocol.is_always_http2();
        let max_open = config.cap(limit, is_http2);
        let engine = config.engine(origin, max_open);
        let mut engine = Pool::new(engine.seed(Shared::next_seed()));
        if config.protocol.may_be_http2(origin) {
            // One connection may turn out to be enough for all requests.
            engine.expect_leases(now, NonZeroUsize::MAX);
        }
        // Born stopped: the pool was stopped after this origin was looked for and not found.
        if shared.is_stopped() {
            engine.drain(now);
        }
        Self {
            engine,
            limit,
            is_http2,
            conns: Vec::new(),
            closed_by: [0; CloseReason::ALL.len()],
            drained: 0,
            quarantined_until: None,
            stuck_at: None,
            refused: None,
            runtimes: Runtimes::default(),
            share: Share::default(),
            closing: Closing::default(),
            settled: Settled::default(),
        }
    }

    /// Returns true if nothing follows from what was just done: so it is after nearly every grant
    /// of an idle connection and nearly every return of a lease.
    #[inline]
    pub(super) fn is_quiet(&mut self, total: bool) -> bool {
        let sockets = self.engine.sockets();
        sockets == self.settled.sockets
            // Without a socket it may be unused, since when is noted by a settlement alone.
            && sockets > 0
            && !self.settled.stale
            && self.engine.is_unasked()
            && !self.engine.has_effects()
            && !self.engine.ticks_sooner()
            && self.engine.queued_for_open() == self.settled.dialling
            && self.engine.order() == self.settled.order
            && (!total || self.share.is_settled(self.engine.oldest_idle()))
    }

    /// Asks for another cap.
    pub(super) const fn set_limit(&mut self, limit: NonZeroUsize) {
        self.limit = limit;
        self.settled.stale = true;
    }

    /// The next connections speak HTTP/2, or do not: the cap follows.
    pub(super) const fn protocol_changes_locked(&mut self, is_http2: bool) {
        self.is_http2 = is_http2;
        self.settled.stale = true;
    }

    /// Returns true if the origin is out of the table: requests go to its successor.
    #[inline]
    pub(super) const fn is_forgotten(&self) -> bool {
        self.settled.forgotten
    }

    /// The total cap has passed a place on to this origin.
    pub(super) const fn place_granted(&mut self) {
        self.share.granted();
        self.settled.stale = true;
    }

    /// The peer has just refused a connection after its handshake.
    pub(super) fn lately_refused(&self, now: Instant) -> Option<DialFailure> {
        let (at, error) = self.refused.as_ref()?;
        (now.saturating_duration_since(*at) < JUST_NOW).then(|| error.clone())
    }

    /// A lease waits for its upload to end, which it may do until `until`.
    pub(super) fn lease_parks(&mut self, until: Instant) {
        if self.stuck_at.is_none_or(|at| until < at) {
            self.stuck_at = Some(until);
            self.settled.stale = true;
        }
    }

    /// The connections whose lease has waited for its upload as long as it may.
    pub(super) fn take_stuck(&mut self, now: Instant) -> Vec<Arc<Conn>> {
        if self.stuck_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let conns = self.conns.iter().flatten().map(|entry| &entry.conn);
        // Their time stays noted when a lease has gone: only those with one parked are stuck.
        let conns = conns.filter(|conn| conn.parked.is_occupied());
        let parked = conns.filter_map(|conn| Some((conn, conn.parked_until()?)));
        let (stuck, left): (Vec<_>, Vec<_>) = parked.partition(|(_, until)| *until <= now);
        let left = left.into_iter().filter(|(conn, _)| !conn.is_closing());
        self.stuck_at = left.map(|(_, until)| until).min();
        stuck.into_iter().map(|(conn, _)| conn.clone()).collect()
    }

    /// Sets the engine's cap by what the connections speak. HTTP/2's is lower, and counts once the
    /// last connection of HTTP/1 is gone: those at work are not closed for one that speaks otherwise.
    pub(super) fn set_cap(&mut self, origin: &Origin, shared: &Shared, now: Instant) {
        let is_http2 = self.is_http2 && self.engine.single_lease() == 0;
        let max = shared.config.cap(self.limit, is_http2);
        if max.get() != self.engine.limit() {
            let config = shared.config.engine(origin, max);
            let config = config.seed(Shared::next_seed());
            self.engine.reconfigure(now, config);
        }
    }
}
