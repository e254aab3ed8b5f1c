//! What failed opens lead to (A7).

use std::num::NonZeroU32;

use tollgate_core::RefuseReason;

use super::bench::{Bench, MILLI, config};
use crate::BackOff;

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
