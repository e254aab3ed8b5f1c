//! One origin: the engine, the connections it decides about, and the one lock round both.

mod checkout;
mod entries;
mod give_back;

use std::fmt;
use std::num::NonZeroUsize;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderValue, Uri};
use tokio::time::Instant;
use tollgate_admission::{Effects, Locked, Machine, Pool, ResourceId};
use tollgate_core::{BoxError, CloseReason, Event, Origin};

pub(crate) use self::checkout::Demanded;
pub(crate) use self::entries::{Entry, Opened};
pub(crate) use self::give_back::Place;
use crate::protocol::Protocol;
use crate::shared::Shared;
use crate::waits::Waits;

/// Why a dial failed: told to everyone who waited for it.
pub(crate) type DialFailure = Arc<BoxError>;

/// One origin of a pool.
pub(crate) struct OriginPool {
    pub(crate) origin: Origin,
    /// The `Host` of requests that have none.
    pub(crate) host: HeaderValue,
    /// What the connector is called with.
    pub(crate) uri: Uri,
    pub(crate) shared: Arc<Shared>,
    /// Guards the engine and the connections' senders. Under it: no user code, no wake, no drop of
    /// a sender; what the engine decides is carried out once it is released.
    inner: Locked<Inner>,
    pub(crate) waits: Waits,
    /// Since when the oldest idle connection idles, for the search across origins under a total
    /// cap: milliseconds of the pool's clock plus one, 0 for none.
    oldest_idle: AtomicU64,
}

pub(crate) struct Inner {
    pub(crate) engine: Pool<DialFailure>,
    /// The cap that was asked for; that of the engine is lower for HTTP/2.
    pub(crate) limit: NonZeroUsize,
    /// What the last connection spoke: HTTP/2, or something else or nothing yet.
    pub(crate) has_streams: bool,
    /// By the resource's index.
    pub(crate) conns: Vec<Option<Entry>>,
    pub(crate) closed_by: [u64; CloseReason::ALL.len()],
    /// Bodies dropped early whose rest was at hand, so that the connection lived on.
    pub(crate) drained: u64,
    /// How many draining connections the observer knows of.
    pub(crate) told_draining: usize,
    /// How many streams it knows of.
    pub(crate) told_streams: usize,
    /// Until when connections are not reused, after bytes that nobody asked for.
    pub(crate) quarantined_until: Option<Instant>,
    /// Since when maintenance has found nothing here.
    pub(crate) unused_since: Option<Instant>,
    /// When maintenance will look here next.
    pub(crate) looked_after_at: Option<Instant>,
}

impl Machine for Inner {
    type Error = DialFailure;

    fn has_effects(&self) -> bool {
        self.engine.has_effects()
    }

    fn take_effects(&mut self) -> Effects<DialFailure> {
        self.engine.take_effects()
    }
}

impl OriginPool {
    pub(crate) fn new(origin: Origin, host: HeaderValue, uri: Uri, shared: Arc<Shared>) -> Self {
        let limit = shared.config.limit(&origin);
        let has_streams = shared.config.protocol == Protocol::Http2;
        let max_open = shared.config.max_open(limit, has_streams);
        let config = shared.config.engine(&origin, max_open);
        let mut engine = Pool::new(config.seed(Shared::next_seed()));
        if shared.config.protocol.may_have_streams(&origin) {
            // One connection may turn out to be enough for everybody.
            engine.expect_leases(Instant::now(), NonZeroUsize::MAX);
        }
        let mut inner = Inner {
            engine,
            limit,
            has_streams,
            conns: Vec::new(),
            closed_by: [0; CloseReason::ALL.len()],
            drained: 0,
            told_draining: 0,
            told_streams: 0,
            quarantined_until: None,
            unused_since: None,
            looked_after_at: None,
        };
        if shared.is_stopped() {
            inner.engine.drain(Instant::now());
        }
        Self {
            origin,
            host,
            uri,
            shared,
            inner: Locked::new(inner),
            waits: Waits::default(),
            oldest_idle: AtomicU64::new(0),
        }
    }

    /// Runs `f` under the lock, then carries out what the engine decided.
    #[inline]
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Inner) -> R) -> R {
        let mut early = false;
        let result = self.inner.with_then(
            |inner| {
                let result = f(inner);
                if self.shared.total.is_some() {
                    let since = inner.engine.oldest_idle();
                    self.oldest_idle
                        .store(self.shared.stamp(since), Ordering::SeqCst);
                }
                early = inner.needs_earlier_look_locked();
                result
            },
            |effects| self.carry_out(effects),
        );
        if early {
            self.look_earlier();
        }
        result
    }

    #[cold]
    fn look_earlier(&self) {
        if !self.shared.maintenance.ensure(&self.shared) {
            self.expect_no_look();
        }
    }

    /// Nobody keeps the clocks any more: whatever is due next has to be told anew.
    pub(crate) fn expect_no_look(&self) {
        self.inner.with_then(
            |inner| {
                inner.looked_after_at = None;
                inner.engine.forget_tick();
            },
            |effects| self.carry_out(effects),
        );
    }

    /// Closes, then wakes. A waker's panic ends here, as an observer's does, and for the same reason.
    #[cold]
    fn carry_out(&self, effects: Effects<DialFailure>) {
        self.tell_changes();
        let run = || effects.run(|resource, reason| self.close(resource, reason));
        if panic::catch_unwind(AssertUnwindSafe(run)).is_err() {
            tracing::error!(origin = %self.origin, "a waiting caller's waker panicked");
        }
    }

    fn close(&self, resource: ResourceId, reason: CloseReason) {
        let ((conn, sender), _) = self.inner.with(|inner| inner.close_locked(resource));
        if let Some(conn) = conn {
            conn.close(reason);
        }
        drop(sender);
    }

    /// Tells the observer, if there is one.
    ///
    /// Its panic ends here: it would come in the middle of a transition, in a destructor or in a dial
    /// that belongs to others.
    #[inline]
    pub(crate) fn observe<'a>(&'a self, event: impl FnOnce() -> Event<'a>) {
        if let Some(observer) = &self.shared.observer {
            let event = event();
            let told = panic::catch_unwind(AssertUnwindSafe(|| observer.on_event(&event)));
            if told.is_err() {
                tracing::error!(origin = %self.origin, "the pool's observer panicked");
            }
        }
    }

    /// Nothing is open, opening or waiting.
    pub(crate) fn is_unused(&self) -> bool {
        self.with(|inner| inner.engine.is_empty())
    }

    /// And has been so for a while.
    pub(crate) fn is_forgotten(&self, now: Instant) -> bool {
        self.with(|inner| inner.is_forgotten_locked(now))
    }

    /// The stamp of the oldest idle connection, 0 if there is none.
    pub(crate) fn oldest_idle(&self) -> u64 {
        self.oldest_idle.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for OriginPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OriginPool")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}
