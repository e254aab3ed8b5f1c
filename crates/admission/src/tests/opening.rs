//! When connections are opened, and what failures lead to (A1, A2, A7).

use std::num::NonZeroU32;

use tollgate_core::RefuseReason;

use super::bench::{Bench, MILLI, SECOND, config, n};
use super::wakes::Wakes;
use crate::{BackOff, Machine, Returned};

#[test]
fn two_hundred_requests_under_a_limit_of_two_open_two() {
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
fn a_burst_opens_no_more_at_once_than_it_may() {
    let mut bench = Bench::new(config(100).max_opening(n(3)));
    for _ in 0..50 {
        bench.queue();
    }
    assert_eq!(bench.start_all(), 3);
    bench.opened();
    assert_eq!(bench.start_all(), 1);
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
fn five_warm_connections_carry_a_burst_without_a_storm_of_dials() {
    let mut bench = Bench::new(config(50).max_opening(n(2)));
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
fn a_connection_that_is_returned_first_leaves_the_open_to_idle() {
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
fn one_failure_fails_the_head_and_the_others_keep_their_chance() {
    let mut bench = Bench::new(config(1));
    let head = bench.queue();
    let next = bench.queue();
    assert_eq!(bench.start_all(), 1);
    bench.pool.open_failed(bench.now, "refused");
    let refusal = bench.fails(head);
    assert_eq!(
        (refusal.reason, refusal.error),
        (RefuseReason::OpenFailed, Some("refused"))
    );
    assert!(bench.poll(next).is_pending());
    assert_eq!(bench.start_all(), 1);
    bench.opened();
    bench.granted(next);
}

/// Three failures in a row with nothing open.
fn failed(bench: &mut Bench) {
    for _ in 0..3 {
        assert!(bench.pool.start_open(bench.now));
        bench.pool.open_failed(bench.now, "no route");
    }
}

#[test]
fn five_hundred_waiters_of_a_dead_host_fail_after_three_dials() {
    let mut bench = Bench::new(config(1));
    let tickets: Vec<_> = (0..500).map(|_| bench.queue()).collect();
    failed(&mut bench);
    for ticket in tickets {
        assert_eq!(bench.fails(ticket).error, Some("no route"));
    }
    assert_eq!(bench.pool.stats().opens, 3);
    assert_eq!(bench.start_all(), 0);
}

#[test]
fn a_newcomer_during_a_back_off_fails_at_once_with_the_cause() {
    let mut bench = Bench::new(config(1));
    for _ in 0..3 {
        bench.queue();
    }
    failed(&mut bench);
    let refusal = bench.refused();
    assert_eq!(
        (refusal.reason, refusal.error),
        (RefuseReason::BackingOff, Some("no route"))
    );
    assert!(!bench.pool.is_empty(), "A11: the pause is remembered");
}

#[test]
fn after_a_pause_one_probe_decides() {
    let mut bench = Bench::new(config(8));
    for _ in 0..3 {
        bench.queue();
    }
    failed(&mut bench);
    bench.advance(MILLI * 55);
    let tickets = [bench.queue(), bench.queue()];
    assert_eq!(bench.start_all(), 1, "half open");
    bench.opened();
    assert_eq!(bench.start_all(), 1, "open again");
    bench.opened();
    for ticket in tickets {
        bench.granted(ticket);
    }
}

#[test]
fn the_end_of_a_pause_needs_no_tick() {
    let mut bench = Bench::new(config(8));
    for _ in 0..3 {
        bench.queue();
    }
    failed(&mut bench);
    bench.pool.warm(1);
    assert!(!bench.pool.wants_open(bench.now));
    bench.advance(MILLI * 55);
    assert!(bench.pool.wants_open(bench.now));
    assert_eq!(bench.start_all(), 1);
}

#[test]
fn each_failed_probe_doubles_the_pause_up_to_its_limit() {
    let back_off = BackOff::new().jitter_percent(0);
    let mut bench = Bench::new(config(8).back_off(back_off));
    for _ in 0..3 {
        bench.queue();
    }
    failed(&mut bench);
    for pause in [50, 100, 200, 400, 800, 1_000, 1_000] {
        bench.advance(MILLI * (pause - 1));
        assert_eq!(bench.refused().reason, RefuseReason::BackingOff);
        bench.advance(MILLI);
        let ticket = bench.queue();
        assert!(bench.pool.start_open(bench.now));
        bench.pool.open_failed(bench.now, "no route");
        assert_eq!(bench.fails(ticket).reason, RefuseReason::OpenFailed);
    }
}

#[test]
fn a_success_forgets_the_failures_before_it() {
    let mut bench = Bench::new(config(1));
    for _ in 0..5 {
        bench.queue();
    }
    for _ in 0..2 {
        for _ in 0..2 {
            assert!(bench.pool.start_open(bench.now));
            bench.pool.open_failed(bench.now, "refused");
        }
        if bench.pool.start_open(bench.now) {
            let resource = bench.opened();
            bench.gone(resource);
        }
    }
    assert_eq!(bench.pool.stats().back_offs, 0, "never three in a row");
}

#[test]
fn with_something_open_nobody_backs_off() {
    let mut bench = Bench::new(config(4));
    let held = bench.idle();
    bench.take();
    let tickets: Vec<_> = (0..5).map(|_| bench.queue()).collect();
    for _ in 0..4 {
        assert!(bench.pool.start_open(bench.now));
        bench.pool.open_failed(bench.now, "refused");
    }
    bench.give_back(held);
    assert_eq!(
        bench.granted(tickets[4]).resource,
        held,
        "the fifth kept its chance"
    );
}

#[test]
fn failures_of_opens_from_before_the_pause_do_not_lengthen_it() {
    let back_off = BackOff::new().jitter_percent(0).after(NonZeroU32::MIN);
    let mut bench = Bench::new(config(8).back_off(back_off));
    for _ in 0..5 {
        bench.queue();
    }
    assert_eq!(bench.start_all(), 5);
    for _ in 0..5 {
        bench.pool.open_failed(bench.now, "timed out");
    }
    bench.advance(MILLI * 50);
    bench.queue();
    assert_eq!(bench.start_all(), 1);
    assert_eq!(bench.pool.stats().back_offs, 1);
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
fn an_open_that_was_abandoned_fails_nobody_and_is_made_up_for() {
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
fn whoever_waits_first_is_woken_to_make_up_for_an_abandoned_open() {
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
fn a_lowered_limit_lets_running_exchanges_end_and_a_raised_one_opens_more() {
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
fn a_drained_pool_refuses_everyone_and_ends_when_the_last_exchange_does() {
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
