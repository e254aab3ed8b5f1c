//! What all origins of one pool share.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tollgate_core::lock::lock;
use tollgate_core::{Observer, Origin};

use crate::dial::Dialer;
use crate::options::config::Config;
use crate::pool::clock::Clock;
use crate::pool::hosts::Hosts;
use crate::pool::opening::PoolOpening;
use crate::pool::origin_pool::OriginPool;
use crate::pool::origins::Origins;
use crate::pool::total::{TotalCap, TotalLimit};

/// The state that all origins of one pool share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) dialer: Box<dyn Dialer<PoolOpening>>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) total: Option<Arc<TotalCap>>,
    pub(crate) clock: Clock,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) origins: Weak<Origins>,
    /// The last connection of an origin is gone.
    pub(crate) gone: Notify,
    /// The origins with a connection or a dial.
    busy: AtomicUsize,
    // Its lock is taken under that of the table, where an origin is met; nothing else happens under it.
    /// The caps that were set for origins since the pool was made, which outlive what the pool knows of
    /// an origin otherwise.
    limits: Mutex<HashMap<Origin, NonZeroUsize>>,
    stopped: AtomicBool,
    connections: AtomicU64,
    /// Of a pool without a total cap.
    origin_numbers: AtomicU64,
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        dialer: Box<dyn Dialer<PoolOpening>>,
        origins: Weak<Origins>,
        total: Option<TotalLimit>,
    ) -> Self {
        let own = || config.max_connections_total.map(TotalLimit::new);
        Self {
            observer: config.observer.as_ref().map(|observed| observed.0.clone()),
            total: total.or_else(own).map(|TotalLimit(cap)| cap),
            config,
            dialer,
            clock: Clock::default(),
            hosts: Arc::default(),
            origins,
            gone: Notify::new(),
            busy: AtomicUsize::new(0),
            limits: Mutex::default(),
            stopped: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            origin_numbers: AtomicU64::new(0),
        }
    }

    /// From now on origins that are met take no requests.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// The next connection's number, from 1.
    pub(crate) fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A seed for one origin's jitter: in the pool's own tests always the same, as that of the engine
    /// beside which a pool runs.
    pub(crate) fn next_seed() -> u64 {
        if cfg!(test) {
            return 0;
        }
        foldhash::fast::RandomState::default().hash_one(0_u8)
    }

    /// The next origin's number: of all pools under one total cap, no two origins have the same.
    pub(super) fn next_origin(&self) -> u64 {
        let total = self.total.as_ref();
        let numbers = total.map_or(&self.origin_numbers, |total| &total.origin_numbers);
        numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// The cap of one origin: the one set last, or its option.
    pub(super) fn limit_of(&self, origin: &Origin) -> NonZeroUsize {
        let set = lock(&self.limits).get(origin).copied();
        set.unwrap_or_else(|| self.config.limit(origin))
    }

    /// Sets the cap of one origin for as long as the pool lives.
    pub(super) fn set_limit(&self, origin: &Origin, limit: NonZeroUsize) {
        lock(&self.limits).insert(origin.clone(), limit);
    }

    /// An origin has connections or dials now, or has none any more.
    pub(super) fn count_busy(&self, pool: &Arc<OriginPool>, was: bool, is: bool) -> Usage {
        // Under the origin's lock, so that was and is follow one another.
        if is && !was {
            self.busy.fetch_add(1, Ordering::SeqCst);
            return self.hosts.begins(pool);
        }
        if was && !is {
            // Before the wake that follows from this: a drain that is woken reads the new count.
            self.busy.fetch_sub(1, Ordering::SeqCst);
            self.hosts.ends(pool);
            return Usage::Ended;
        }
        Usage::Same
    }

    /// Returns true if any origin has a connection or a dial.
    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::SeqCst) > 0
    }

    /// The origins of a host name that have a connection or a dial.
    pub(crate) fn origins_of(&self, host: &str) -> Vec<Arc<OriginPool>> {
        self.hosts.origins(host)
    }

    /// Closes idle connections for as many origins as wait for a place.
    pub(super) fn reclaim(&self) {
        if let Some(total) = &self.total {
            total.reclaim();
        }
    }
}

/// A change of whether an origin has connections or dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usage {
    /// None that matters to another.
    Same,
    /// It has, and a watch of host names is to be woken for it.
    HostMet,
    /// It has none any more.
    Ended,
}

/// `after` from `from`; where the clock ends before that, a time that never comes.
pub(crate) fn later(from: Instant, after: Duration) -> Instant {
    const NEVER: Duration = Duration::from_secs(86_400 * 365 * 30);
    from.checked_add(after.min(NEVER)).unwrap_or(from)
}
