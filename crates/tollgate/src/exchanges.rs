//! The exchanges that are under way, for those who asked to have them watched: leaks, deadlocks, and
//! the oldest one of an origin.
//!
//! A client that watches nothing has no table, and an exchange of it no entry.

mod deadlock;
mod leak;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http::Method;
use tokio::time::Instant;
use tollgate_core::Origin;
use tollgate_core::lock::lock;
use tollgate_keep_alive::KeepAlive;

use crate::future::Destination;
use crate::long_lived::Class;
use crate::task_flag::TaskFlag;

pub use deadlock::scope;
pub(crate) use deadlock::{RECHECK, Scope};

/// The options of watching a client's exchanges.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Watched {
    pub(crate) leak_after: Option<Duration>,
    pub(crate) deadlocks: bool,
}

impl Watched {
    pub(crate) fn table(
        self,
        pool: &KeepAlive,
        long_lived: Option<&KeepAlive>,
    ) -> Option<Arc<Exchanges>> {
        let any = self.leak_after.is_some() || self.deadlocks;
        any.then(|| Arc::new(Exchanges::new(self, pool.clone(), long_lived.cloned())))
    }
}

/// The table of exchanges under way.
pub(crate) struct Exchanges {
    watched: Watched,
    pool: KeepAlive,
    long_lived: Option<KeepAlive>,
    born: Instant,
    next: AtomicU64,
    /// Guards the table alone: nothing is woken, dropped or logged under it.
    live: Mutex<HashMap<u64, Arc<Exchange>>>,
    /// A task looks for leaks.
    looking: TaskFlag,
}

/// One exchange: from the call to the end of the response body.
#[derive(Debug)]
pub(crate) struct Exchange {
    destination: Destination,
    class: Class,
    method: Method,
    since: Instant,
    scope: Option<Scope>,
    /// It has a connection.
    granted: AtomicBool,
    /// The time at which its body was read last, in milliseconds since the table was made, plus
    /// one; 0 before the head.
    read_at: AtomicU64,
    /// A read of its body is waiting for the peer.
    reading: AtomicBool,
    /// It was reported as a leak.
    reported: AtomicBool,
}

/// Takes an exchange out of the table when dropped.
pub(crate) struct Entry {
    table: Arc<Exchanges>,
    id: u64,
    exchange: Arc<Exchange>,
}

impl Exchanges {
    fn new(watched: Watched, pool: KeepAlive, long_lived: Option<KeepAlive>) -> Self {
        Self {
            watched,
            pool,
            long_lived,
            born: Instant::now(),
            next: AtomicU64::new(0),
            live: Mutex::default(),
            looking: TaskFlag::default(),
        }
    }

    /// Takes an exchange in.
    pub(crate) fn enter(
        self: &Arc<Self>,
        destination: Destination,
        method: Method,
        class: Class,
    ) -> Entry {
        let exchange = Arc::new(Exchange {
            destination,
            class,
            method,
            since: Instant::now(),
            // Read in the call: the future may be polled by a task outside of the scope.
            scope: self.watched.deadlocks.then(Scope::current).flatten(),
            granted: AtomicBool::new(false),
            read_at: AtomicU64::new(0),
            reading: AtomicBool::new(false),
            reported: AtomicBool::new(false),
        });
        let id = self.next.fetch_add(1, Relaxed);
        self.lock().insert(id, Arc::clone(&exchange));
        // After it is in the table: a task that finds nothing under way ends.
        self.look_for_leaks();
        Entry {
            table: Arc::clone(self),
            id,
            exchange,
        }
    }

    /// The age of the oldest exchange of an origin that has a connection of this class.
    #[cfg(feature = "debug")]
    pub(crate) fn oldest(&self, origin: &Origin, class: Class) -> Option<Duration> {
        let ages = self.of(origin, class).into_iter();
        let ages = ages.filter(|exchange| exchange.granted.load(Relaxed));
        ages.map(|exchange| exchange.since.elapsed()).max()
    }

    /// The exchanges of an origin in one of the pools.
    fn of(&self, origin: &Origin, class: Class) -> Vec<Arc<Exchange>> {
        let is_of = |exchange: &&Arc<Exchange>| exchange.class == class;
        // Cloned out: to make an origin of a URI allocates, and is nothing to do under the lock.
        let all: Vec<_> = self.lock().values().filter(is_of).cloned().collect();
        let of = |exchange: &Arc<Exchange>| exchange.destination.origin().as_ref() == Some(origin);
        all.into_iter().filter(of).collect()
    }

    fn pool(&self, class: Class) -> Option<&KeepAlive> {
        match class {
            Class::Call => Some(&self.pool),
            Class::LongLived => self.long_lived.as_ref(),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Exchange>>> {
        lock(&self.live)
    }
}

impl Entry {
    /// The exchange has a connection.
    pub(crate) fn granted(&self) {
        self.exchange.granted.store(true, Relaxed);
    }

    /// The body was polled: it has a frame, or waits for one.
    pub(crate) fn polled(&self, pending: bool) {
        self.exchange.reading.store(pending, Relaxed);
        self.exchange.read_at.store(self.table.now() + 1, Relaxed);
    }

    /// Returns true if the call may look for a deadlock while it waits.
    pub(crate) fn is_scoped(&self) -> bool {
        self.exchange.scope.is_some()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let exchange = self.table.lock().remove(&self.id);
        // With the lock open: it may be the last reference, and a URI goes with it.
        drop(exchange);
    }
}

impl fmt::Debug for Exchanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchanges")
            .field("watched", &self.watched)
            .field("live", &self.lock().len())
            .finish_non_exhaustive()
    }
}
