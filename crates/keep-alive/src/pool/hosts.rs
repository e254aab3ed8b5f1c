//! The host names in use, each with its origins: what follows from a change of its addresses touches
//! these origins alone.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;
use tollgate_core::lock::lock;

use crate::pool::origin_pool::OriginPool;
use crate::pool::shared::Usage;

/// The host names in use.
#[derive(Default)]
pub(crate) struct Hosts {
    /// Guards the table and the queue; taken under an origin's lock, never the other way round. Nothing
    /// else happens under it.
    state: Mutex<State>,
    /// A name was met, or the pool has ended.
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// The origins of each name that have a connection or a dial.
    in_use: HashMap<Arc<str>, Vec<Arc<OriginPool>>>,
    /// Names that came into use and that the watch has not seen; none without a watch.
    met: VecDeque<Arc<str>>,
    watches: usize,
    ended: bool,
}

impl Hosts {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// An origin has a connection or a dial now.
    pub(super) fn begins(&self, pool: &Arc<OriginPool>) -> Usage {
        let mut state = self.lock();
        let host = pool.origin.host();
        if let Some(origins) = state.in_use.get_mut(host) {
            origins.push(pool.clone());
            return Usage::Same;
        }
        let host: Arc<str> = host.into();
        state.in_use.insert(host.clone(), vec![pool.clone()]);
        // Without a watch none takes names out, and the queue would only grow.
        if state.watches == 0 {
            return Usage::Same;
        }
        state.met.push_back(host);
        Usage::HostMet
    }

    /// An origin has none any more.
    pub(super) fn ends(&self, pool: &Arc<OriginPool>) {
        let mut state = self.lock();
        let host = pool.origin.host();
        let Some(origins) = state.in_use.get_mut(host) else {
            return;
        };
        // Not the last reference: the caller holds one.
        origins.retain(|one| one.number != pool.number);
        if origins.is_empty() {
            state.in_use.remove(host);
            // Out of use before it was seen: the watch has no use for it.
            state.met.retain(|met| **met != *host);
        }
    }

    /// The origins of a name.
    pub(super) fn origins(&self, host: &str) -> Vec<Arc<OriginPool>> {
        self.lock().in_use.get(host).cloned().unwrap_or_default()
    }

    pub(super) fn wake(&self) {
        // Kept for a watch that is between its look and its wait.
        self.changed.notify_one();
    }

    /// The pool has ended: so do the watches.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    pub(crate) fn watch(self: &Arc<Self>) -> HostsInUse {
        let mut state = self.lock();
        state.watches += 1;
        state.met = state.in_use.keys().cloned().collect();
        drop(state);
        HostsInUse(self.clone())
    }
}

/// The host names to which a pool has connections or dials, as they come into use: from
/// [`KeepAlive::hosts_in_use`](crate::KeepAlive::hosts_in_use). It does not keep the pool alive.
///
/// For a task that keeps the addresses of these names true. Of several at once, each sees some of the
/// names.
pub struct HostsInUse(Arc<Hosts>);

impl HostsInUse {
    /// Returns the next name that came into use, those in use at the start first; `None` once the pool
    /// has ended.
    ///
    /// Cancel safe: a name that was not returned is the next one's.
    pub async fn next(&self) -> Option<Arc<str>> {
        loop {
            // Made before the look: a name that is met between the look and the wait is not missed.
            let changed = self.0.changed.notified();
            {
                let mut state = self.0.lock();
                if let Some(met) = state.met.pop_front() {
                    return Some(met);
                }
                if state.ended {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// Returns true if a name is in use.
    pub fn contains(&self, host: &str) -> bool {
        self.0.lock().in_use.contains_key(host)
    }
}

impl Drop for HostsInUse {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.watches -= 1;
        if state.watches == 0 {
            state.met.clear();
        }
    }
}

impl fmt::Debug for HostsInUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostsInUse")
            .field("names", &self.0.lock().in_use.len())
            .finish_non_exhaustive()
    }
}
