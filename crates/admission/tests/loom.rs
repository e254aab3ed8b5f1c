//! Two tasks at a time on one machine, in every order that matters.
//!
//! `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=3 cargo test -p tollgate-admission --release
//! --target-dir target/loom --test loom`
//!
//! A wake-up that is lost shows as loom's "deadlock": nobody is left to run.
#![cfg(loom)]

use std::collections::HashMap;
use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::task::{Poll, Waker};

use loom::future::block_on;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;
use tokio::time::Instant;
use tollgate_admission::{
    Admission, Demand, Gate, GateConfig, Locked, Place, Pool, PoolConfig, ResourceId,
    ResourceState, Returned, Ticket, Total,
};
use tollgate_core::CloseReason;

fn gate(now: Instant) -> Arc<Locked<Gate>> {
    let gate = Arc::new(Locked::new(Gate::new(GateConfig::new(NonZeroUsize::MIN))));
    let (admission, _) = gate.with(|gate| gate.demand(now, Demand::new()));
    assert!(matches!(admission, Admission::Granted(_)));
    gate
}

fn queue_at_gate(gate: &Locked<Gate>, now: Instant) -> Ticket {
    match gate.with(|gate| gate.demand(now, Demand::new())).0 {
        Admission::Queued(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

/// Waits as a task does: asleep until it is woken.
fn wait_at_gate(gate: &Locked<Gate>, ticket: Ticket, now: Instant) {
    let granted = block_on(poll_fn(|cx| {
        gate.with(|gate| gate.poll(ticket, now, cx.waker())).0
    }));
    granted.expect("it has no deadline that passes");
}

/// A connection pool whose owner opens at once and closes at once.
struct Owner {
    pool: Locked<Pool<()>>,
    now: Instant,
    sockets: AtomicUsize,
    most: AtomicUsize,
}

impl Owner {
    fn new(max_open: usize) -> Arc<Self> {
        let max_open = NonZeroUsize::new(max_open).expect("at least one");
        Arc::new(Self {
            pool: Locked::new(Pool::new(PoolConfig::new().max_open(max_open))),
            now: Instant::now(),
            sockets: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        })
    }

    fn with<R>(&self, f: impl FnOnce(&mut Pool<()>) -> R) -> R {
        let (result, effects) = self.pool.with(f);
        if let Some(effects) = effects {
            effects.run(|resource, reason| self.gone(resource, reason));
        }
        result
    }

    /// The socket is closed, by whoever comes first: it is gone before its place is free.
    fn gone(&self, resource: ResourceId, reason: CloseReason) {
        self.with(|pool| {
            if pool.resource(resource).is_some() {
                self.sockets.fetch_sub(1, Ordering::SeqCst);
                pool.resource_gone(resource, self.now, reason);
            }
        });
        self.open_what_is_wanted();
    }

    fn open_what_is_wanted(&self) {
        while self.with(|pool| pool.start_open(self.now)) {
            let sockets = self.sockets.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(sockets, Ordering::SeqCst);
            self.with(|pool| pool.opened(self.now, NonZeroUsize::MIN));
        }
    }

    fn ask(&self) -> Result<ResourceId, Ticket> {
        match self.with(|pool| pool.demand(self.now, Demand::new())) {
            Admission::Granted(grant) => Ok(grant.resource),
            Admission::Queued(ticket) => Err(ticket),
            Admission::Refused(refusal) => panic!("{refusal:?}"),
        }
    }

    fn poll(&self, ticket: Ticket, waker: &Waker) -> Poll<Option<ResourceId>> {
        let polled = self.with(|pool| pool.poll(ticket, self.now, waker));
        if polled.is_pending() {
            // Its connection may have been lost, and it may want another.
            self.open_what_is_wanted();
        }
        polled.map(|result| result.ok().map(|grant| grant.resource))
    }

    /// A lease, or `None` if it was refused.
    fn wait(&self, ticket: Ticket) -> Option<ResourceId> {
        block_on(poll_fn(|cx| self.poll(ticket, cx.waker())))
    }

    fn lease(&self) -> ResourceId {
        match self.ask() {
            Ok(resource) => resource,
            Err(ticket) => {
                self.open_what_is_wanted();
                self.wait(ticket).expect("it was opened")
            }
        }
    }

    fn give_back(&self, resource: ResourceId, returned: Returned) {
        self.with(|pool| pool.lease_returned(resource, self.now, returned));
    }
}

#[test]
fn a_place_that_is_released_as_its_waiter_leaves_goes_to_the_next() {
    loom::model(|| {
        let now = Instant::now();
        let gate = gate(now);
        let first = queue_at_gate(&gate, now);
        let second = queue_at_gate(&gate, now);
        let leaving = thread::spawn({
            let gate = gate.clone();
            move || drop(gate.with(|gate| gate.cancel(first, now)).1)
        });
        let releasing = thread::spawn({
            let gate = gate.clone();
            move || drop(gate.with(|gate| gate.release(now)).1)
        });
        wait_at_gate(&gate, second, now);
        leaving.join().expect("no panic");
        releasing.join().expect("no panic");
        let stats = gate.read(Gate::stats);
        assert_eq!((stats.in_flight, stats.unanswered), (1, 0));
    });
}

#[test]
fn a_reservation_that_is_abandoned_goes_to_who_comes_meanwhile() {
    loom::model(|| {
        let now = Instant::now();
        let gate = gate(now);
        let first = queue_at_gate(&gate, now);
        drop(gate.with(|gate| gate.release(now)).1);
        let leaving = thread::spawn({
            let gate = gate.clone();
            move || drop(gate.with(|gate| gate.cancel(first, now)).1)
        });
        let (admission, effects) = gate.with(|gate| gate.demand(now, Demand::new()));
        drop(effects);
        if let Admission::Queued(ticket) = admission {
            wait_at_gate(&gate, ticket, now);
        }
        leaving.join().expect("no panic");
        let stats = gate.read(Gate::stats);
        assert_eq!((stats.in_flight, stats.unanswered), (1, 0));
    });
}

#[test]
fn a_lease_that_comes_back_as_its_connection_ends_leaves_nobody_waiting() {
    loom::model(|| {
        let owner = Owner::new(1);
        let held = owner.lease();
        let ticket = owner.ask().expect_err("one is the limit");
        let ending = thread::spawn({
            let owner = owner.clone();
            move || owner.gone(held, CloseReason::PeerEof)
        });
        let returning = thread::spawn({
            let owner = owner.clone();
            move || owner.give_back(held, Returned::reusable())
        });
        let resource = owner.wait(ticket).expect("it has no deadline that passes");
        ending.join().expect("no panic");
        returning.join().expect("no panic");
        // It got the old connection before that ended, or a new one after.
        let stats = owner.pool.read(Pool::stats);
        assert_eq!((stats.queued, stats.unanswered), (0, 0));
        let there = owner.pool.read(|pool| pool.resource(resource).is_some());
        assert_eq!(stats.in_flight, usize::from(there));
        assert_eq!(
            owner.most.load(Ordering::SeqCst),
            1,
            "A1, counted in sockets"
        );
    });
}

#[test]
fn a_waiter_that_leaves_as_its_connection_opens_leaves_it_to_the_next() {
    loom::model(|| {
        let owner = Owner::new(1);
        let first = owner.ask().expect_err("nothing is open");
        let second = owner.ask().expect_err("nothing is open");
        let opening = thread::spawn({
            let owner = owner.clone();
            move || owner.open_what_is_wanted()
        });
        let leaving = thread::spawn({
            let owner = owner.clone();
            move || {
                owner.with(|pool| pool.cancel(first, owner.now));
                owner.open_what_is_wanted();
            }
        });
        assert!(owner.wait(second).is_some());
        opening.join().expect("no panic");
        leaving.join().expect("no panic");
        let stats = owner.pool.read(Pool::stats);
        assert_eq!((stats.open, stats.in_flight, stats.unanswered), (1, 1, 0));
        assert_eq!(
            stats.opens, 1,
            "A3: what the first caused served the second"
        );
    });
}

/// Two origins under a total of one, as a layer would share it.
struct Shared {
    owners: [Locked<Pool<()>>; 2],
    total: Mutex<Total<usize>>,
    blocking: AtomicBool,
    closes: Mutex<HashMap<ResourceId, usize>>,
    now: Instant,
}

impl Shared {
    fn total<R>(&self, f: impl FnOnce(&mut Total<usize>) -> R) -> R {
        let mut total = self.total.lock().expect("no panic");
        let result = f(&mut total);
        self.blocking.store(total.is_blocking(), Ordering::SeqCst);
        result
    }

    fn with<R>(&self, at: usize, f: impl FnOnce(&mut Pool<()>) -> R) -> R {
        let (result, effects) = self.owners[at].with(f);
        if let Some(effects) = effects {
            effects.run(|id, _| {
                let mut closes = self.closes.lock().expect("no panic");
                *closes.entry(id).or_default() += 1;
            });
        }
        result
    }

    fn reclaim(&self) {
        if self.total(|total| total.is_short()) && self.with(0, Pool::reclaim_oldest_idle) {
            self.total(Total::reclaimed);
        }
    }
}

#[test]
fn an_idle_connection_is_reclaimed_for_another_origin_however_they_race() {
    loom::model(|| {
        let now = Instant::now();
        let pool = || Locked::new(Pool::new(PoolConfig::new()));
        let shared = Arc::new(Shared {
            owners: [pool(), pool()],
            total: Mutex::new(Total::new(NonZeroUsize::MIN)),
            blocking: AtomicBool::new(false),
            closes: Mutex::new(HashMap::new()),
            now,
        });
        // The first origin has the one connection, and a lease on it.
        shared.with(0, |pool| pool.warm(1));
        assert_eq!(
            shared.total(|total| total.acquire(&0, now, true)),
            Place::Taken
        );
        assert!(shared.with(0, |pool| pool.start_open(now)));
        let held = shared.with(0, |pool| pool.opened(now, NonZeroUsize::MIN));
        assert!(matches!(
            shared.with(0, |pool| pool.demand(now, Demand::new())),
            Admission::Granted(_)
        ));

        let returning = thread::spawn({
            let shared = shared.clone();
            move || {
                shared.with(0, |pool| {
                    pool.lease_returned(held, shared.now, Returned::reusable());
                });
                if shared.blocking.load(Ordering::SeqCst) {
                    shared.reclaim();
                }
            }
        });
        shared.with(1, |pool| {
            assert!(matches!(
                pool.demand(now, Demand::new()),
                Admission::Queued(_)
            ));
        });
        assert_eq!(
            shared.total(|total| total.acquire(&1, now, true)),
            Place::Wait
        );
        shared.reclaim();
        returning.join().expect("no panic");

        let closes = shared.closes.lock().expect("no panic").clone();
        assert_eq!(closes, HashMap::from([(held, 1)]), "closed, and once");
        let gone = shared.with(0, |pool| pool.resource_gone(held, now, CloseReason::Error));
        assert_eq!(gone.map(|gone| gone.reason), Some(CloseReason::Reclaimed));
        assert_eq!(
            shared.total(Total::release),
            Some(1),
            "the place is for who waited"
        );
        assert!(shared.with(1, |pool| pool.start_open(now)));
    });
}

/// Drains the pool beside `other`; afterwards nothing may be live, waiting or leased for ever.
fn drain_beside(
    prepare: impl Fn(&Owner) -> (Option<ResourceId>, Option<Ticket>) + Send + Sync + 'static,
    other: impl Fn(&Owner, Option<ResourceId>, Option<Ticket>) + Send + Sync + Copy + 'static,
) {
    loom::model(move || {
        let owner = Owner::new(1);
        let (held, ticket) = prepare(&owner);
        let racing = thread::spawn({
            let owner = owner.clone();
            move || other(&owner, held, ticket)
        });
        owner.with(|pool| pool.drain(owner.now));
        racing.join().expect("no panic");
        let (live, stats) = owner.pool.read(|pool| {
            let live = |each: ResourceState| each == ResourceState::Live;
            let live = pool.resources().any(|each| live(each.state));
            (live, pool.stats())
        });
        assert!(!live, "nothing is kept");
        assert_eq!((stats.queued, stats.idle), (0, 0));
    });
}

#[test]
fn draining_races_a_return() {
    drain_beside(
        |owner| (Some(owner.lease()), None),
        |owner, held, _| {
            owner.give_back(held.expect("held"), Returned::reusable());
            assert_eq!(owner.pool.read(Pool::stats).in_flight, 0);
        },
    );
}

#[test]
fn draining_races_a_waiter() {
    drain_beside(
        |owner| (Some(owner.lease()), owner.ask().err()),
        |owner, held, ticket| {
            owner.give_back(held.expect("held"), Returned::reusable());
            // Granted or refused, but not left to wait.
            if let Some(resource) = owner.wait(ticket.expect("queued")) {
                owner.give_back(resource, Returned::reusable());
            }
        },
    );
}

#[test]
fn draining_races_an_open() {
    drain_beside(
        |owner| (None, owner.ask().err()),
        |owner, _, ticket| {
            owner.open_what_is_wanted();
            if let Some(resource) = owner.wait(ticket.expect("queued")) {
                owner.give_back(resource, Returned::reusable());
            }
            assert_eq!(owner.pool.read(Pool::stats).connecting, 0);
        },
    );
}

#[test]
fn draining_races_a_cancelled_reservation() {
    drain_beside(
        |owner| {
            let held = owner.lease();
            let ticket = owner.ask().expect_err("one is the limit");
            owner.give_back(held, Returned::reusable());
            (None, Some(ticket))
        },
        |owner, _, ticket| owner.with(|pool| pool.cancel(ticket.expect("queued"), owner.now)),
    );
}

#[test]
fn draining_races_a_connection_that_ends() {
    drain_beside(
        |owner| {
            let held = owner.lease();
            owner.give_back(held, Returned::reusable());
            (Some(held), None)
        },
        |owner, held, _| {
            // The peer closes as the pool does.
            owner.gone(held.expect("open"), CloseReason::PeerEof);
            assert_eq!(owner.sockets.load(Ordering::SeqCst), 0);
        },
    );
}
