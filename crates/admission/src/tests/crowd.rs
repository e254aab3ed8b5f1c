//! Ten thousand waiting (A6): nobody pays for the length of the queue.

use std::num::NonZeroUsize;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::RefuseReason;

use super::wakes::Wakes;
use crate::{Admission, Demand, Machine, Pool, PoolConfig, ResourceId, Returned, Ticket};

const CROWD: u64 = 10_000;
/// List operations and heap levels that one step of one waiter may take: the heap's depth and some.
const EACH: u64 = 40;

/// A pool whose only connection is taken, with a crowd behind it.
fn crowded(timeout: Duration) -> (Pool<()>, ResourceId, Vec<Ticket>, Instant) {
    let now = Instant::now();
    let config = PoolConfig::new()
        .max_connections_per_origin(NonZeroUsize::MIN)
        .max_waiting(CROWD as usize)
        .acquire_timeout(timeout);
    let mut pool = Pool::new(config);
    let Admission::Queued(first) = pool.demand(now, Demand::new()) else {
        panic!("nothing is open yet")
    };
    assert!(pool.start_open(now));
    let held = pool.opened(now, NonZeroUsize::MIN);
    let (_, waker) = Wakes::new();
    assert!(pool.poll(first, now, &waker).is_ready());
    let crowd = (0..CROWD).map(|_| match pool.demand(now, Demand::new()) {
        Admission::Queued(ticket) => ticket,
        other => panic!("{other:?}"),
    });
    let crowd = crowd.collect();
    (pool, held, crowd, now)
}

#[test]
fn cancelling_in_the_middle_costs_constant_steps() {
    let (mut pool, _, crowd, now) = crowded(Duration::from_secs(3));
    let before = pool.steps();
    for ticket in crowd.iter().skip(1).step_by(2) {
        pool.cancel(*ticket, now);
    }
    assert_eq!(pool.stats().queued as u64, CROWD / 2);
    assert!(pool.steps() - before < EACH * CROWD / 2);
}

#[test]
fn a_grant_wakes_the_one_it_is_for() {
    let (mut pool, held, crowd, now) = crowded(Duration::from_secs(3));
    let wakes: Vec<_> = crowd.iter().map(|_| Wakes::new()).collect();
    for (ticket, (_, waker)) in crowd.iter().zip(&wakes) {
        assert!(pool.poll(*ticket, now, waker).is_pending());
    }
    for (n, (ticket, (_, waker))) in crowd.iter().zip(&wakes).enumerate() {
        let before = pool.steps();
        pool.lease_returned(held, now, Returned::reusable());
        let effects = pool.take_effects();
        assert_eq!(effects.wakes(), 1);
        drop(effects);
        assert!(matches!(pool.poll(*ticket, now, waker), Poll::Ready(Ok(_))));
        assert!(pool.steps() - before < EACH);
        let woken = wakes.iter().skip(n).take(2).map(|(wakes, _)| wakes.count());
        assert_eq!(woken.sum::<usize>(), 1, "only number {n}");
    }
}

#[test]
fn the_whole_crowd_times_out_in_one_pass() {
    let (mut pool, _, crowd, now) = crowded(Duration::from_secs(3));
    let later = now + Duration::from_secs(3);
    let before = pool.steps();
    pool.tick(later);
    assert!(pool.steps() - before < EACH * CROWD);
    let (_, waker) = Wakes::new();
    for ticket in crowd {
        let Poll::Ready(Err(refusal)) = pool.poll(ticket, later, &waker) else {
            panic!("it is over")
        };
        assert_eq!(refusal.reason, RefuseReason::QueueTimeout);
    }
}
