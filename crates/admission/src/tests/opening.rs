//! When connections are opened, and what failures lead to (A1, A2, A7).

use tollgate_core::RefuseReason;

use super::bench::{Bench, SECOND, config, n};
use super::wakes::Wakes;
use crate::{Admission, Demand, Machine, Returned};

#[test]
fn a_limit_of_two_opens_two_for_200() {
    let mut bench = Bench::new(config(2));
    for _ in 0..200 {
        bench.queue();
    }
    assert_eq!(bench.start_all(), 2);
    bench.opened();
    bench.opened();
    assert_eq!(bench.start_all(), 0);
}

#[test]
fn max_connecting_bounds_the_opens_of_a_burst() {
    let mut bench = Bench::new(config(100).max_connecting_per_origin(n(3)));
    for _ in 0..50 {
        bench.queue();
    }
    assert_eq!(bench.start_all(), 3);
    bench.opened();
    assert_eq!(bench.start_all(), 1);
}

#[test]
fn a_ticket_that_is_not_polled_opens_nothing() {
    let mut bench = Bench::new(config(3));
    let demand = Demand::new().opens_when_polled(true);
    let tickets = [(); 2].map(|()| match bench.demand(demand) {
        Admission::Queued(ticket) => ticket,
        other => panic!("not queued: {other:?}"),
    });
    bench.advance(SECOND);
    bench.pool.tick(bench.now);
    assert_eq!(bench.start_all(), 0);
    assert!(bench.poll(tickets[1]).is_pending());
    assert_eq!(bench.start_all(), 1);
    bench.opened();
    assert_eq!(bench.start_all(), 1, "the first of the line had it");
    assert!(bench.poll(tickets[0]).is_ready());
}

#[test]
fn demand_that_was_met_otherwise_starts_nothing() {
    let mut bench = Bench::new(config(2));
    let held = bench.idle();
    bench.take();
    let ticket = bench.queue();
    assert!(bench.pool.wants_open(bench.now));
    bench.give_back(held);
    assert!(!bench.pool.start_open(bench.now), "no ghost connects");
    bench.granted(ticket);
}

#[test]
fn a_burst_on_warm_connections_causes_two_dials() {
    let mut bench = Bench::new(config(50).max_connecting_per_origin(n(2)));
    let warm: Vec<_> = (0..5).map(|_| bench.idle()).collect();
    for _ in 0..5 {
        bench.take();
    }
    let tickets: Vec<_> = (0..45).map(|_| bench.queue()).collect();
    assert_eq!(bench.start_all(), 2);
    // 75 exchanges of 2 ms end on the warm ones while the two dials of 150 ms go on.
    let mut waiting = tickets.into_iter();
    for round in 0..9 {
        for resource in &warm {
            bench.give_back(*resource);
            let next = waiting.next().expect("45 in 9 rounds of 5");
            assert_eq!(bench.granted(next).resource, *resource, "round {round}");
        }
    }
    assert_eq!(bench.start_all(), 0, "nobody waits any more");
    assert_eq!(bench.pool.stats().opens, 7);
}

#[test]
fn a_returned_lease_beats_the_waiters_own_open() {
    let mut bench = Bench::new(config(2));
    let held = bench.idle();
    bench.take();
    let ticket = bench.queue();
    assert_eq!(bench.start_all(), 1);
    bench.give_back(held);
    assert_eq!(bench.granted(ticket).resource, held, "late binding");
    let fresh = bench.opened();
    assert_eq!(bench.take().resource, fresh);
}

#[test]
fn an_open_that_hangs_holds_no_warm_up_back() {
    let mut bench = Bench::new(config(10));
    bench.pool.expect_leases(bench.now, n(100));
    bench.pool.warm(3);
    assert_eq!(bench.start_all(), 3, "connections, of however many leases");
    // Beside a request that waits, for which one is enough.
    let mut bench = Bench::new(config(10));
    bench.pool.expect_leases(bench.now, n(100));
    bench.queue();
    bench.queue();
    assert_eq!(bench.start_all(), 1);
    bench.pool.warm(3);
    assert!(bench.pool.start_open(bench.now));
    // The one that hangs was for the queue, which is served by now, and counts among the three.
    bench.opened();
    assert_eq!(bench.start_all(), 1);
}

#[test]
fn a_warm_up_counts_opens_for_the_queue() {
    let mut bench = Bench::new(config(10).max_connecting_per_origin(n(1)));
    for _ in 0..3 {
        bench.queue();
    }
    bench.pool.warm(3);
    let mut opened = 0;
    while bench.pool.start_open(bench.now) {
        bench.opened();
        opened += 1;
    }
    assert_eq!(opened, 3, "one after the other");
}

#[test]
fn warming_opens_what_is_missing_and_tries_once() {
    let mut bench = Bench::new(config(4));
    bench.pool.warm(3);
    assert_eq!(bench.start_all(), 3);
    bench.opened();
    bench.opened();
    bench.pool.open_failed(bench.now, "refused");
    assert_eq!(bench.start_all(), 0);
    bench.pool.warm(100);
    assert_eq!(bench.start_all(), 2, "the limit is four");
}

#[test]
fn an_abandoned_open_is_replaced_and_fails_none() {
    let mut bench = Bench::new(config(1));
    let ticket = bench.queue();
    assert_eq!(bench.start_all(), 1);
    bench.pool.open_abandoned(bench.now);
    assert!(bench.poll(ticket).is_pending());
    assert!(
        bench.pool.deadline(ticket).is_some(),
        "its clock runs again"
    );
    assert_eq!(bench.start_all(), 1);
}

#[test]
fn an_abandoned_open_wakes_the_first_waiter() {
    let mut bench = Bench::new(config(2));
    let (wakes, waker) = Wakes::new();
    let (first, _second) = (bench.queue(), bench.queue());
    assert_eq!(bench.start_all(), 2);
    assert!(bench.pool.poll(first, bench.now, &waker).is_pending());
    bench.pool.open_abandoned(bench.now);
    drop(bench.pool.take_effects());
    assert_eq!(wakes.count(), 1);
    assert_eq!(bench.start_all(), 1, "by whoever looks first");
}

#[test]
fn a_lowered_limit_lets_exchanges_end() {
    let mut bench = Bench::new(config(3));
    let all: Vec<_> = (0..3).map(|_| bench.idle()).collect();
    for _ in 0..3 {
        bench.take();
    }
    let ticket = bench.queue();
    bench.pool.reconfigure(bench.now, config(1));
    assert!(bench.closes().is_empty(), "nothing is cut off");
    bench.give_back(all[0]);
    bench.give_back(all[1]);
    assert_eq!(bench.closes().len(), 2);
    bench
        .pool
        .lease_returned(all[2], bench.now, Returned::reusable());
    assert_eq!(bench.granted(ticket).resource, all[2]);
    bench.gone(all[0]);
    bench.gone(all[1]);
    bench.queue();
    assert_eq!(bench.start_all(), 0);
    bench.pool.reconfigure(bench.now, config(2));
    assert_eq!(bench.start_all(), 1);
}

#[test]
fn a_drain_ends_after_the_last_exchange() {
    let mut bench = Bench::new(config(3));
    let held = bench.idle();
    let idle = bench.idle();
    assert_eq!(bench.take().resource, idle, "the newest");
    assert_eq!(bench.take().resource, held);
    bench.give_back(idle);
    bench.take();
    let waiter = bench.queue();
    assert_eq!(bench.start_all(), 1);
    bench.give_back(idle);
    bench.granted(waiter);
    bench.give_back(idle);
    bench.pool.drain(bench.now);
    assert_eq!(bench.refused().reason, RefuseReason::Closed);
    assert_eq!(bench.closes().len(), 1, "the idle one");
    let late = bench.opened();
    bench.give_back(held);
    assert_eq!(bench.closes().len(), 2, "the active one and the late one");
    for resource in [idle, late, held] {
        assert!(!bench.pool.is_empty());
        bench.gone(resource);
    }
    assert!(bench.pool.is_empty());
    bench.advance(SECOND);
    bench.pool.tick(bench.now);
    assert_eq!(bench.pool.next_tick(), None);
}
