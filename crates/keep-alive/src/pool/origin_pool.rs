//! One origin: its engine, its connections, and the one lock round both.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http::{HeaderValue, Uri};
use tollgate_core::lock::lock;
use tollgate_core::{Event, Limits, Origin};

use crate::connection::http2::Memory;
use crate::options::http1::Parser;
use crate::pool::inner::Inner;
use crate::pool::shared::Shared;
use crate::pool::waits::Waits;

/// One origin of a pool.
pub(crate) struct OriginPool {
    pub(crate) origin: Origin,
    /// Counted over the pool: the origin's name where a short one is wanted.
    pub(crate) number: u64,
    /// The `Host` of requests that have none.
    pub(crate) host: HeaderValue,
    /// The URI that the connector is called with.
    pub(crate) uri: Uri,
    pub(crate) shared: Arc<Shared>,
    /// Of each request that has none of its own; `None` if there are none.
    pub(crate) limits: Option<Limits>,
    /// Guards the engine and the connections' senders. It is taken by `touch` and `read` alone. Under
    /// it: no user code, no wake, no drop of a sender; what the engine decides is carried out once it
    /// is released.
    inner: Mutex<Inner>,
    pub(crate) waits: Waits,
    /// A response was read by the generous parser alone.
    needs_generous: AtomicBool,
    pub(crate) http2: Memory,
    /// The budget that the connector keeps by itself, in milliseconds, as its dials report it; 0 for
    /// none. The default of the connect timeout gives way to it.
    budget_below: AtomicU64,
    /// Out of the table of origins: a request that still has this one takes its successor.
    forgotten: AtomicBool,
    /// The number of times that the lock was taken.
    #[cfg(test)]
    pub(crate) locked: AtomicU64,
}

impl OriginPool {
    pub(crate) fn new(origin: Origin, host: HeaderValue, uri: Uri, shared: Arc<Shared>) -> Self {
        Self {
            inner: Mutex::new(Inner::new(&origin, &shared)),
            number: shared.next_origin(),
            limits: shared.config.time_limits(&origin),
            origin,
            host,
            uri,
            shared,
            waits: Waits::default(),
            needs_generous: AtomicBool::new(false),
            http2: Memory::default(),
            budget_below: AtomicU64::new(0),
            forgotten: AtomicBool::new(false),
            #[cfg(test)]
            locked: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        #[cfg(test)]
        self.locked.fetch_add(1, Ordering::Relaxed);
        lock(&self.inner)
    }

    /// Reads under the lock; for numbers.
    pub(crate) fn read<R>(&self, f: impl FnOnce(&Inner) -> R) -> R {
        f(&self.lock())
    }

    pub(super) fn forget(&self) {
        // Beside the flag under the lock: the table's readers do not lock the origin.
        self.forgotten.store(true, Ordering::Release);
    }

    /// Returns true if it is out of the table of origins.
    #[inline]
    pub(crate) fn is_forgotten(&self) -> bool {
        self.forgotten.load(Ordering::Acquire)
    }

    /// Reports to the observer, if there is one.
    #[inline]
    pub(crate) fn observe<'a>(&'a self, event: impl FnOnce() -> Event<'a>) {
        if let Some(observer) = &self.shared.observer {
            let event = event();
            if !event.report_to(observer.as_ref()) {
                tracing::error!(origin = %self.origin, "the pool's observer panicked");
            }
        }
    }

    /// The longest time for one open.
    pub(crate) fn connect_timeout(&self) -> Duration {
        let (limit, is_default) = self.shared.config.connect_timeout(&self.origin);
        let below = Duration::from_millis(self.budget_below.load(Ordering::Relaxed));
        if is_default { limit.max(below) } else { limit }
    }

    /// Notes the budget that the connector keeps by itself.
    pub(crate) fn learn_budget(&self, total: Duration) {
        let millis = u64::try_from(total.as_millis()).unwrap_or(u64::MAX);
        // Relaxed: a dial that has read the old value learns of the budget by itself.
        self.budget_below.store(millis, Ordering::Relaxed);
    }

    /// The parser for a new connection.
    pub(crate) fn parser(&self) -> Parser {
        if self.needs_generous.load(Ordering::Relaxed) {
            Parser::Generous
        } else {
            Parser::Quick
        }
    }

    /// Notes that a response was read by the generous parser alone; further connections have it at once.
    #[cold]
    pub(crate) fn learn_parser(&self) {
        self.needs_generous.store(true, Ordering::Relaxed);
    }
}

impl fmt::Debug for OriginPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OriginPool")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// Its last reference is dropped without any lock.
impl Drop for OriginPool {
    fn drop(&mut self) {
        let from = self.read(|inner| inner.settled.limit);
        if from > 0 {
            let origin = &self.origin;
            self.observe(|| Event::LimitChanged {
                origin,
                from,
                to: 0,
            });
        }
    }
}
