//! The cap over all origins. Touched only when a connection is opened or closed.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tollgate_admission::{Place, Total};
use tollgate_core::Origin;

use crate::origin_pool::OriginPool;
use crate::shared::Shared;

/// The cap over all origins.
pub(crate) struct TotalCap {
    /// Guards the count of places and who waits for one; nothing else happens under it.
    total: Mutex<Total<Origin>>,
    /// Whether anyone waits for a place: read at every return of a lease.
    starving: AtomicBool,
}

impl TotalCap {
    pub(crate) fn new(max: NonZeroUsize) -> Self {
        Self {
            total: Mutex::new(Total::new(max)),
            starving: AtomicBool::new(false),
        }
    }

    fn with<R>(&self, f: impl FnOnce(&mut Total<Origin>) -> R) -> R {
        let mut total = self.locked();
        let result = f(&mut total);
        self.starving.store(total.is_blocking(), Ordering::SeqCst);
        result
    }

    fn locked(&self) -> MutexGuard<'_, Total<Origin>> {
        self.total.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_starving(&self) -> bool {
        self.starving.load(Ordering::SeqCst)
    }
}

impl Shared {
    /// Takes a place for a dial to `pool`; if there is none, notes that it waits and makes room.
    pub(crate) fn take_place(&self, pool: &OriginPool) -> bool {
        let Some(cap) = &self.total else { return true };
        let (since, holds_none) = pool.with(|inner| {
            (
                inner.engine.head_waiting_since(),
                inner.engine.places() == 0,
            )
        });
        let since = since.unwrap_or_else(Instant::now);
        let place = cap.with(|total| total.acquire(&pool.origin, since, holds_none));
        match place {
            Place::Taken => return true,
            Place::StillWaiting => return false,
            Place::Wait => {}
        }
        // The flag was raised first and idle connections are looked for second: a lease that is
        // returned meanwhile sees the flag, or is seen here.
        self.reclaim_oldest();
        false
    }

    /// A place fell free: the origin that has waited longest gets it.
    pub(crate) fn place_free(&self) {
        let Some(cap) = &self.total else { return };
        while let Some(next) = cap.with(Total::release) {
            let pool = self
                .origins
                .upgrade()
                .and_then(|origins| origins.get(&next));
            if pool.is_some_and(|pool| crate::dial::start_with_place(&pool)) {
                return;
            }
        }
    }

    /// Whether `pool` waits for nothing any more is told to the cap, so that nobody gives way to it.
    pub(crate) fn demand_changed(&self, pool: &OriginPool) {
        let starving = self.total.as_ref().filter(|cap| cap.is_starving());
        if let Some(cap) = starving
            && !pool.with(|inner| inner.engine.wants_open(Instant::now()))
        {
            cap.with(|total| total.withdraw(&pool.origin));
        }
    }

    /// Whether a connection must be given up, at the end of its exchange, for an origin that has
    /// none at all and has waited longer than `own_head`, the longest-waiting request of its own.
    #[inline]
    pub(crate) fn must_yield(&self, origin: &Origin, own_head: Option<Instant>) -> bool {
        let Some(cap) = self.total.as_ref().filter(|cap| cap.is_starving()) else {
            return false;
        };
        cap.locked().gives_way(origin, own_head)
    }

    /// A lease was returned: if someone waits for a place, an idle connection is closed for them.
    #[inline]
    pub(crate) fn lease_returned(&self) {
        if self.total.as_ref().is_some_and(TotalCap::is_starving) {
            self.reclaim_oldest();
        }
    }

    /// Closes the connections that have idled longest, of any origin, for as many as wait.
    fn reclaim_oldest(&self) {
        let (Some(cap), Some(origins)) = (&self.total, self.origins.upgrade()) else {
            return;
        };
        let all: Vec<Arc<OriginPool>> = origins.all();
        let oldest = || {
            let idle = all.iter().map(|pool| (pool.oldest_idle(), pool));
            idle.filter(|(at, _)| *at > 0).min_by_key(|(at, _)| *at)
        };
        while let Some((_, pool)) = oldest() {
            // Counted first: the place may be free before the next line runs.
            let short = cap.with(|total| {
                let short = total.is_short();
                if short {
                    total.reclaimed();
                }
                short
            });
            if !short {
                return;
            }
            if !pool.with(|inner| inner.engine.reclaim_oldest_idle()) {
                cap.with(Total::not_reclaimed);
            }
        }
    }
}
