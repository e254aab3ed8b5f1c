//! Callers, answers and invalidations in every order that there is.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst};

use super::*;
use crate::addresses::answer::Answer;
use crate::cache::config::Config;
use crate::cache::interleave::{every_order, point};

const NAME: &str = "a.test";

/// The name servers' truth, and what callers heard.
struct World {
    cache: Arc<Cache>,
    now: Instant,
    truth: AtomicU8,
    /// The truth at the time when the last invalidation had returned.
    told: AtomicU8,
    asked: AtomicUsize,
}

/// The caller's act once it has started or joined a flight.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Waits,
    GoesAway,
    /// Its flight's task is lost with its runtime.
    LosesTheTask,
}

fn addr(version: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, version], 0))
}

fn is_true_since(told: u8, served: Served) {
    let mut addrs = served.result.unwrap();
    assert!(addrs.next().unwrap() >= addr(told), "an answer from before");
}

impl World {
    fn new() -> Arc<Self> {
        let now = Instant::now();
        let config = Config {
            jitter: false,
            ..Config::DEFAULT
        };
        Arc::new(Self {
            cache: Arc::new(Cache::new(config, now)),
            now,
            truth: AtomicU8::new(1),
            told: AtomicU8::new(1),
            asked: AtomicUsize::new(0),
        })
    }

    /// A lookup, with the task that it may have to start. What it heard.
    fn look_up(&self, then: Then) {
        let told = self.told.load(SeqCst);
        let receiver = match self.cache.probe(NAME, self.now) {
            Probe::Done(served) => return is_true_since(told, served),
            Probe::Ask { .. } => match self.cache.join(NAME, self.now).0 {
                Joined::Served(served) => return is_true_since(told, served),
                Joined::Waiting(receiver, _) => {
                    if then == Then::GoesAway {
                        point();
                    }
                    return drop(receiver);
                }
                Joined::Starting(receiver, flight) => {
                    self.fly(flight, then == Then::LosesTheTask);
                    receiver
                }
            },
        };
        let mut receiver = receiver;
        match receiver.try_recv() {
            Ok(Ok(entry)) => assert!(entry.addrs[0] >= addr(told), "an answer from before"),
            Ok(Err(error)) => panic!("{error}"),
            Err(oneshot::error::TryRecvError::Closed) => assert!(then == Then::LosesTheTask),
            Err(oneshot::error::TryRecvError::Empty) => panic!("nobody told the caller"),
        }
    }

    fn fly(&self, flight: Flight, is_lost: bool) {
        point();
        self.asked.fetch_add(1, SeqCst);
        let version = self.truth.load(SeqCst);
        if is_lost {
            drop(flight);
        } else {
            let answer = Answer::new([addr(version)]).ttl(Duration::from_secs(60));
            drop(flight.settle(Ok(answer), self.now));
        }
    }

    /// The name moves, and whoever moved it says so.
    fn invalidate(&self) {
        let version = self.truth.fetch_add(1, SeqCst) + 1;
        self.cache.invalidate(NAME, self.now);
        self.told.store(version, SeqCst);
    }

    /// Nothing is left over, and nothing that was invalidated is still known.
    fn is_settled(&self, most_asked: usize) {
        let flights = self.cache.flights_locked();
        assert_eq!((flights.live, flights.table.len()), (0, 0));
        drop(flights);
        let told = self.told.load(SeqCst);
        if let Some(entry) = self.cache.map.peek(&Key::new(NAME)) {
            assert!(entry.addrs.iter().all(|known| *known >= addr(told)));
            assert!(!entry.refreshing.load(Relaxed), "nobody would refresh it");
        }
        assert!(self.asked.load(SeqCst) <= most_asked);
    }
}

type Actor = Box<dyn FnOnce() + Send>;

/// The number of orders of these callers and so many invalidations.
fn orders(callers: &[Then], invalidations: usize, most_asked: usize) -> usize {
    let callers = callers.to_vec();
    every_order(move || {
        let world = World::new();
        let mut actors: Vec<Actor> = Vec::new();
        for &then in &callers {
            let world = Arc::clone(&world);
            actors.push(Box::new(move || world.look_up(then)));
        }
        for _ in 0..invalidations {
            let world = Arc::clone(&world);
            actors.push(Box::new(move || world.invalidate()));
        }
        (actors, Box::new(move || world.is_settled(most_asked)))
    })
}

// Fault 26.
#[test]
fn single_flight_holds_in_every_order_of_callers() {
    for second in [Then::Waits, Then::GoesAway] {
        let orders = orders(&[Then::GoesAway, second], 0, 1);
        assert!(orders > 10, "{orders}");
    }
}

// Fault 26.
#[test]
fn no_stale_answer_outlives_an_invalidation() {
    for first in [Then::Waits, Then::GoesAway, Then::LosesTheTask] {
        let orders = orders(&[first, Then::Waits], 1, 2);
        assert!(orders > 10, "{orders}");
    }
}

// Fault 26.
#[test]
fn two_invalidations_leave_no_flight_behind() {
    let orders = orders(&[Then::Waits], 2, 1);
    assert!(orders > 10, "{orders}");
}

// Fault 26.
#[test]
fn a_lost_lookup_task_is_always_restarted() {
    let orders = orders(&[Then::LosesTheTask, Then::Waits], 0, 2);
    assert!(orders > 10, "{orders}");
}

#[test]
fn a_hit_takes_no_exclusive_lock() {
    let world = World::new();
    world.look_up(Then::Waits);
    // A second lock of it by this thread would never return, or panic.
    let held = world.cache.flights_locked();
    let Probe::Done(served) = world.cache.probe(NAME, world.now) else {
        panic!("not a hit");
    };
    assert_eq!(served.result.unwrap().next(), Some(addr(1)));
    drop(held);
}
