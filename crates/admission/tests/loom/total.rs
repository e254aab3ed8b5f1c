//! A limit over two origins.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;
use tokio::time::Instant;
use tollgate_admission::{
    Acquire, Admission, Demand, Locked, Pool, PoolConfig, ResourceId, Returned, Total,
};
use tollgate_core::CloseReason;

/// Two origins under a total of one, as a layer would share it.
struct Shared {
    owners: [Locked<Pool<()>>; 2],
    total: Mutex<Total<usize>>,
    blocking: AtomicBool,
    /// How many idle connections the first origin has, as far as the others can see.
    idle: AtomicUsize,
    closes: Mutex<HashMap<ResourceId, usize>>,
    now: Instant,
}

/// What of an origin's connections is being closed, as its owner last told the total.
type Yields = (usize, usize);

impl Shared {
    fn total<R>(&self, f: impl FnOnce(&mut Total<usize>) -> R) -> R {
        let mut total = self.total.lock().expect("no panic");
        let result = f(&mut total);
        self.blocking.store(total.is_blocking(), Ordering::SeqCst);
        result
    }

    fn with<R>(&self, at: usize, f: impl FnOnce(&mut Pool<()>) -> R) -> R {
        let (result, effects) = self.owners[at].with(|pool| {
            let before: Yields = pool.yielding();
            let result = f(pool);
            if at == 0 {
                let idle = usize::from(pool.oldest_idle().is_some());
                self.idle.swap(idle, Ordering::SeqCst);
            }
            // In one step with the change, as the owner does it.
            let now = pool.yielding();
            if now != before {
                self.total(|total| total.yields(before, now));
            }
            result
        });
        if let Some(effects) = effects {
            effects.run(|id, _| {
                let mut closes = self.closes.lock().expect("no panic");
                *closes.entry(id).or_default() += 1;
            });
        }
        result
    }

    /// Reads what another thread writes without a lock, as loom has sequential consistency.
    fn anything_idle(&self) -> bool {
        self.idle.fetch_add(0, Ordering::SeqCst) > 0
    }

    fn is_blocking(&self) -> bool {
        self.blocking.fetch_or(false, Ordering::SeqCst)
    }

    /// As `tollgate-keep-alive` does it.
    fn reclaim(&self) {
        while self.anything_idle() {
            if !self.total(|total| total.is_short()) {
                return;
            }
            self.with(0, |pool| {
                // Under the lock again: another thread may have closed it meanwhile.
                if self.total(|total| total.is_short()) {
                    pool.reclaim_oldest_idle();
                }
            });
        }
    }

    /// The second origin wants its first connection.
    fn ask_for_the_second(&self) {
        self.with(1, |pool| {
            let admission = pool.demand(self.now, Demand::new());
            assert!(matches!(admission, Admission::Queued(_)));
        });
        let place = self.total(|total| total.acquire(&1, self.now, true));
        if place == Acquire::Wait {
            self.reclaim();
        }
    }

    fn give_back(&self, held: ResourceId) {
        self.with(0, |pool| {
            pool.lease_returned(held, self.now, Returned::reusable());
        });
        if self.is_blocking() {
            self.reclaim();
        }
    }

    /// Both origins, the first with the one connection there may be, and a lease on it.
    fn with_one_leased() -> (Arc<Self>, ResourceId) {
        let now = Instant::now();
        let pool = || Locked::new(Pool::new(PoolConfig::new()));
        let shared = Arc::new(Self {
            owners: [pool(), pool()],
            total: Mutex::new(Total::new(NonZeroUsize::MIN)),
            blocking: AtomicBool::new(false),
            idle: AtomicUsize::new(0),
            closes: Mutex::new(HashMap::new()),
            now,
        });
        shared.with(0, |pool| pool.warm(1));
        let place = shared.total(|total| total.acquire(&0, now, true));
        assert_eq!(place, Acquire::Taken);
        assert!(shared.with(0, |pool| pool.start_open(now)));
        let held = shared.with(0, |pool| pool.opened(now, NonZeroUsize::MIN));
        let granted = shared.with(0, |pool| pool.demand(now, Demand::new()));
        assert!(matches!(granted, Admission::Granted(_)));
        (shared, held)
    }
}

fn released(total: &mut Total<usize>) -> Option<usize> {
    total.release(1);
    total.take_free()
}

#[test]
fn a_racing_return_is_reclaimed_for_another_origin() {
    loom::model(|| {
        let (shared, held) = Shared::with_one_leased();
        let now = shared.now;
        let returning = thread::spawn({
            let shared = shared.clone();
            move || shared.give_back(held)
        });
        shared.ask_for_the_second();
        returning.join().expect("no panic");

        let closes = shared.closes.lock().expect("no panic").clone();
        assert_eq!(closes, HashMap::from([(held, 1)]), "closed, and once");
        let gone = shared.with(0, |pool| pool.resource_gone(held, now, CloseReason::Error));
        assert_eq!(gone.map(|gone| gone.reason), Some(CloseReason::Reclaimed));
        let next = shared.total(released);
        assert_eq!(next, Some(1), "the place is for who waited");
        assert!(shared.with(1, |pool| pool.start_open(now)));
    });
}

/// The peer closes the idle connection as another origin looks for one.
#[test]
fn a_close_racing_its_reclaim_frees_one_place() {
    loom::model(|| {
        let (shared, held) = Shared::with_one_leased();
        shared.give_back(held);
        let ending = thread::spawn({
            let shared = shared.clone();
            move || {
                let now = shared.now;
                let gone = shared.with(0, |pool| {
                    pool.resource_gone(held, now, CloseReason::PeerEof)
                });
                assert!(gone.is_some());
                shared.total(released)
            }
        });
        shared.ask_for_the_second();
        let named = ending.join().expect("no panic");
        // It was told of its place, or found it free.
        let (held, waits) = shared.total(|total| (total.held(), total.is_blocking()));
        assert_eq!((held, waits), (1, false), "{named:?}");
        assert!(shared.with(1, |pool| pool.start_open(shared.now)));
    });
}
