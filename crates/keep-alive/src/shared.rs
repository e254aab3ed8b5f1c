//! What all origins of one pool share.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::Notify;
use tokio::time::Instant;
use tollgate_core::Observer;

use crate::config::Config;
use crate::dial::Dialer;
use crate::maintenance::Maintenance;
use crate::origins::Origins;
use crate::total::TotalCap;

/// What all origins of one pool share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) dialer: Box<dyn Dialer>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) total: Option<TotalCap>,
    pub(crate) maintenance: Maintenance,
    pub(crate) origins: Weak<Origins>,
    /// A connection is gone.
    pub(crate) gone: Notify,
    stopped: AtomicBool,
    connections: AtomicU64,
    epoch: Instant,
}

impl Shared {
    pub(crate) fn new(config: Config, dialer: Box<dyn Dialer>, origins: Weak<Origins>) -> Self {
        Self {
            observer: config.observer.as_ref().map(|observed| observed.0.clone()),
            total: config.max_connections_total.map(TotalCap::new),
            config,
            dialer,
            maintenance: Maintenance::default(),
            origins,
            gone: Notify::new(),
            stopped: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            epoch: Instant::now(),
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

    /// A seed for one origin's jitter.
    pub(crate) fn next_seed() -> u64 {
        foldhash::fast::RandomState::default().hash_one(0_u8)
    }

    /// An instant as a number that fits an atomic: milliseconds of this pool's life plus one, and 0
    /// for none.
    pub(crate) fn stamp(&self, at: Option<Instant>) -> u64 {
        at.map_or(0, |at| {
            let millis = at.saturating_duration_since(self.epoch).as_millis();
            u64::try_from(millis).unwrap_or(u64::MAX - 1) + 1
        })
    }
}
