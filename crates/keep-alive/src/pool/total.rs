//! The total cap as the pools share it (the rules are admission's `Total`). Touched when a connection is
//! opened or closed, and while an origin waits.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use tokio::time::Instant;
use tollgate_admission::{Acquire, Total};
use tollgate_core::lock::lock;

use crate::pool::inner::Inner;
use crate::pool::origin_pool::OriginPool;
use crate::pool::shared::later;

/// A limit on the connections of several pools together: for
/// [`KeepAliveLayer::total_limit`](crate::KeepAliveLayer::total_limit). Clones are the same limit.
///
/// ```
/// use std::num::NonZeroUsize;
/// use tollgate_keep_alive::{KeepAliveLayer, TotalLimit};
///
/// let limit = TotalLimit::new(NonZeroUsize::new(512).unwrap());
/// let calls = KeepAliveLayer::new().total_limit(limit.clone());
/// let streams = KeepAliveLayer::new().max_waiting(0).total_limit(limit);
/// # drop((calls, streams));
/// ```
#[derive(Clone)]
pub struct TotalLimit(pub(super) Arc<TotalCap>);

impl TotalLimit {
    /// A limit with nothing open.
    pub fn new(max: NonZeroUsize) -> Self {
        Self(Arc::new(TotalCap::new(max)))
    }

    /// The most connections.
    pub fn max(&self) -> NonZeroUsize {
        self.0.lock().total.max()
    }
}

impl fmt::Debug for TotalLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TotalLimit").field(&self.max()).finish()
    }
}

/// The cap over all origins, of one pool or of several.
pub(crate) struct TotalCap {
    /// Guards the places, who waits for one and the idle connections; taken under an origin's lock,
    /// never the other way round. Nothing else happens under it.
    state: Mutex<State>,
    /// True if any origin waits: read at every return of a lease.
    ///
    /// It is raised before the idle connections are looked at, and read after a connection has become
    /// idle, both under `state`: else a place could be waited for beside an idle connection.
    blocking: AtomicBool,
    /// The number of origins met, of all pools under this cap: the key of the next one.
    pub(super) origin_numbers: AtomicU64,
    /// The time since which an origin counts as waiting that wants a connection to spare: later than any
    /// request, and the same at each look.
    spare_since: Instant,
    /// The number of times that the lock was taken.
    #[cfg(test)]
    pub(super) locked: AtomicU64,
}

struct State {
    total: Total<u64>,
    /// The origins that wait, by their number.
    waiting: HashMap<u64, Arc<OriginPool>>,
    /// Each origin with an idle connection once, at the latest under the time since when its oldest
    /// idles: an earlier one is corrected when it is met. With its number: of two that idle since the same
    /// moment, the one met first.
    idle: BTreeMap<(Instant, u64), Weak<OriginPool>>,
}

/// An origin's part in the total, kept with its engine.
#[derive(Debug, Default)]
pub(crate) struct Share {
    /// Places held: as many as the engine uses, or one more between the grant and the dial.
    held: usize,
    /// Of these, those that were passed on to it and are not used yet. A place that one of its own
    /// connections has just left is none of them: that goes to the origin that is next.
    granted: usize,
    yielding: (usize, usize),
    waits: bool,
    /// The time of its entry among the idle, if it has one.
    listed_idle: Option<Instant>,
}

impl Share {
    /// A place was passed on to this origin.
    pub(crate) const fn granted(&mut self) {
        self.held += 1;
        self.granted += 1;
    }

    /// Returns true if it waits for a place.
    pub(crate) const fn waits(&self) -> bool {
        self.waits
    }

    /// Its entry among the idle was taken out.
    pub(crate) const fn unlisted(&mut self) {
        self.listed_idle = None;
    }

    /// Returns true if nothing changed that the total is to know of.
    #[inline]
    pub(crate) fn is_settled(&self, oldest_idle: Option<Instant>) -> bool {
        !self.waits && !self.is_to_list(oldest_idle)
    }

    /// Returns true if its oldest idle connection has idled for longer than the list has it.
    #[inline]
    fn is_to_list(&self, oldest_idle: Option<Instant>) -> bool {
        oldest_idle.is_some_and(|since| self.listed_idle.is_none_or(|listed| since < listed))
    }
}

/// Why the total needs a look after the unlock.
#[derive(Default)]
pub(super) struct Passed {
    /// Origins that hold a place now that was not theirs.
    pub(super) to: Vec<Arc<OriginPool>>,
    /// More wait than places are on their way.
    pub(super) short: bool,
}

impl TotalCap {
    pub(crate) fn new(max: NonZeroUsize) -> Self {
        Self {
            state: Mutex::new(State {
                total: Total::new(max),
                waiting: HashMap::new(),
                idle: BTreeMap::new(),
            }),
            blocking: AtomicBool::new(false),
            origin_numbers: AtomicU64::new(0),
            spare_since: later(Instant::now(), Duration::MAX),
            #[cfg(test)]
            locked: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        #[cfg(test)]
        self.locked.fetch_add(1, Ordering::Relaxed);
        lock(&self.state)
    }

    /// The number of places taken.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.lock().total.held()
    }

    /// Returns true if more wait than places are on their way.
    #[cfg(test)]
    pub(super) fn is_short(&self) -> bool {
        self.lock().total.is_short()
    }

    /// Returns true if any origin waits.
    #[inline]
    pub(crate) fn is_blocking(&self) -> bool {
        self.blocking.load(Ordering::SeqCst)
    }

    /// Takes a place for one more dial of `pool`, if it has none in hand. Notes that it waits if there
    /// is none.
    pub(super) fn acquire(&self, pool: &Arc<OriginPool>, inner: &mut Inner, now: Instant) -> bool {
        if inner.share.granted > 0 {
            // In `held` already, since it was passed on.
            inner.share.granted -= 1;
            return true;
        }
        // Read under the origin's lock, which is held; the total's is the inner one.
        let places = inner.engine.places();
        let since = inner.engine.open_wanted_since(now);
        let since = since.unwrap_or(self.spare_since);
        let mut state = self.lock();
        match state.total.acquire(&pool.number, since, places == 0) {
            Acquire::Taken => {
                inner.share.held += 1;
                return true;
            }
            Acquire::StillWaiting => {}
            Acquire::Wait => {
                // A strong reference, until it is served or withdrawn: a place must not be passed
                // to an origin that is gone.
                state.waiting.insert(pool.number, pool.clone());
                inner.share.waits = true;
                // Raised before the idle are looked at: a lease that comes back from now on sees
                // it.
                self.blocking.store(true, Ordering::SeqCst);
            }
        }
        false
    }

    /// Brings the total up to what the engine of `pool` is now.
    pub(super) fn settle(&self, pool: &Arc<OriginPool>, inner: &mut Inner, wants: bool) -> Passed {
        let mut state = self.lock();
        let (places, mut yielding) = (inner.engine.places(), inner.engine.yielding());
        // One that does not close is no place on its way, and must not keep an idle one from closing.
        yielding.0 = yielding.0.saturating_sub(inner.closing.overdue());
        let share = &mut inner.share;
        state.total.yields(share.yielding, yielding);
        share.yielding = yielding;
        if share.waits && !wants {
            share.waits = false;
            state.total.withdraw(&pool.number);
            // Not the last reference: the caller holds one.
            state.waiting.remove(&pool.number);
        }
        // The engine knows what it uses; whatever the share has beyond that is free.
        if share.held > places {
            state.total.release(share.held - places);
        } else {
            state.total.take_beyond(places - share.held);
        }
        share.held = places;
        // What was passed on and not used goes back with the rest.
        share.granted = 0;
        let oldest_idle = inner.engine.oldest_idle();
        if share.is_to_list(oldest_idle)
            && let Some(since) = oldest_idle
        {
            if let Some(listed) = share.listed_idle.replace(since) {
                state.idle.remove(&(listed, pool.number));
            }
            let origin = Arc::downgrade(pool);
            state.idle.insert((since, pool.number), origin);
        } else if places == 0
            && let Some(listed) = share.listed_idle.take()
        {
            // The list is no longer than there are origins with a connection.
            state.idle.remove(&(listed, pool.number));
        }
        let mut to = Vec::new();
        while let Some(number) = state.total.take_free() {
            // Only named here: they are locked after this origin and the total are not any more.
            to.extend(state.waiting.remove(&number));
        }
        let blocking = state.total.is_blocking();
        // Under the lock, as it is raised: stored after it, an old value could go over a new one.
        self.blocking.store(blocking, Ordering::SeqCst);
        let short = blocking && state.total.is_short() && !state.idle.is_empty();
        Passed { to, short }
    }

    /// Returns true if `pool` should close a connection whose lease comes back, for an origin that
    /// has waited longer than its own oldest request.
    pub(crate) fn gives_way(&self, pool: &OriginPool, inner: &Inner, now: Instant) -> bool {
        let head = inner.engine.head_waiting_since();
        self.lock().total.gives_way(&pool.number, head, now)
    }

    /// Closes the connections that have idled longest, of any origin, for as many as wait.
    pub(super) fn reclaim(&self) {
        // One at a time, and the need read anew for each: a place that falls free meanwhile saves a
        // connection.
        while let Some((since, origin)) = self.next_idle() {
            if let Some(pool) = origin.upgrade() {
                pool.touch(|inner| {
                    // Listed again when this ends, if it still has an idle one.
                    inner.share.unlisted();
                    // It may have been used since it was listed, and another of the same origin may
                    // be the oldest.
                    if inner.engine.oldest_idle() == Some(since) {
                        inner.engine.reclaim_oldest_idle();
                    }
                });
            }
        }
    }

    fn next_idle(&self) -> Option<(Instant, Weak<OriginPool>)> {
        let mut state = self.lock();
        let short = state.total.is_blocking() && state.total.is_short();
        // Taken out under the total's lock, closed under the origin's: held together, they would be
        // taken in the wrong order.
        let next = short.then(|| state.idle.pop_first());
        next.flatten().map(|((since, _), origin)| (since, origin))
    }
}
