//! What happens after the lock, and not under it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};

use tokio::time::Instant;

use super::bench::{Bench, config, n};
use super::wakes::Wakes;
use crate::{Admission, Demand, Gate, GateConfig, Locked, Machine, Ticket};

type Shared = Arc<Locked<Gate>>;

fn full_gate(now: Instant) -> Shared {
    let gate = Locked::new(Gate::new(GateConfig::new(n(1))));
    let (admission, effects) = gate.with(|gate| gate.demand(now, Demand::new()));
    assert!(matches!(admission, Admission::Granted(_)) && effects.is_none());
    Arc::new(gate)
}

fn queue(gate: &Shared, now: Instant, waker: &Waker) -> Ticket {
    let (admission, _) = gate.with(|gate| gate.demand(now, Demand::new()));
    let Admission::Queued(ticket) = admission else {
        panic!("the place is taken");
    };
    assert!(
        gate.with(|gate| gate.poll(ticket, now, waker))
            .0
            .is_pending()
    );
    ticket
}

/// A task that uses the machine when it is woken, and when it is dropped.
struct Reentrant(Weak<Locked<Gate>>, Arc<AtomicUsize>);

impl Reentrant {
    fn look(&self) {
        if let Some(gate) = self.0.upgrade() {
            self.1
                .fetch_add(gate.read(Gate::stats).limit, Ordering::Relaxed);
        }
    }
}

impl Wake for Reentrant {
    fn wake(self: Arc<Self>) {
        self.look();
    }
}

impl Drop for Reentrant {
    fn drop(&mut self) {
        self.look();
    }
}

#[test]
fn wakers_are_woken_and_dropped_outside_the_lock() {
    let now = Instant::now();
    let gate = full_gate(now);
    let looks = Arc::new(AtomicUsize::new(0));
    let reentrant = || Waker::from(Arc::new(Reentrant(Arc::downgrade(&gate), looks.clone())));
    let first = queue(&gate, now, &reentrant());
    // Replaced, cancelled, woken: each would deadlock under the lock.
    assert!(
        gate.with(|gate| gate.poll(first, now, &reentrant()))
            .0
            .is_pending()
    );
    let second = queue(&gate, now, &reentrant());
    drop(gate.with(|gate| gate.cancel(second, now)));
    drop(gate.with(|gate| gate.release(now)));
    assert_eq!(looks.load(Ordering::Relaxed), 4, "three drops and a wake");
}

#[test]
fn a_panicking_waker_does_not_lose_other_wakes() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("in a waker");
        }
    }
    let now = Instant::now();
    let gate = full_gate(now);
    queue(&gate, now, &Waker::from(Arc::new(Panics)));
    let (wakes, waker) = Wakes::new();
    queue(&gate, now, &waker);
    let ((), effects) = gate.with(|gate| gate.drain(now));
    let effects = AssertUnwindSafe(effects);
    assert!(catch_unwind(|| drop({ effects }.0)).is_err());
    assert_eq!(wakes.count(), 1);
}

#[test]
fn a_panic_under_the_lock_stays_harmless() {
    let now = Instant::now();
    let gate = full_gate(now);
    let panicking = AssertUnwindSafe(&gate);
    let result = catch_unwind(|| panicking.with(|_| panic!("in the closure")));
    assert!(result.is_err());
    assert_eq!(gate.read(Gate::stats).in_flight, 1);
}

#[test]
fn closes_come_before_wakes() {
    let mut bench = Bench::new(config(2));
    let idle = bench.idle();
    bench.idle();
    let (wakes, waker) = Wakes::new();
    for _ in 0..2 {
        bench.take();
    }
    let ticket = bench.queue();
    assert!(bench.pool.poll(ticket, bench.now, &waker).is_pending());
    bench.pool.drain(bench.now);
    bench.give_back(idle);
    let effects = bench.pool.take_effects();
    assert_eq!(effects.wakes(), 1);
    let mut closed = Vec::new();
    effects.run(|resource, _| {
        assert_eq!(wakes.count(), 0);
        closed.push(resource);
    });
    assert_eq!((closed, wakes.count()), (vec![idle], 1));
}

#[test]
fn the_idle_hit_path_has_no_effects() {
    let mut bench = Bench::new(config(1));
    let idle = bench.idle();
    bench.take();
    assert!(!bench.pool.has_effects());
    bench.give_back(idle);
    assert!(!bench.pool.has_effects());
}

#[test]
fn what_is_shared_is_send_and_sync() {
    fn shared<T: Send + Sync>() {}
    shared::<Locked<Gate>>();
    shared::<Locked<crate::Pool<String>>>();
    shared::<crate::Total<usize>>();
    shared::<crate::Effects<String>>();
}
