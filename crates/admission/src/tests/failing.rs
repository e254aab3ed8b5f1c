//! What failed opens lead to (A7).

use std::num::{NonZeroU32, NonZeroUsize};

use tollgate_core::RefuseReason;

use super::bench::{Bench, MILLI, config};
use crate::{Admission, BackOff, Demand, PoolConfig};

#[test]
fn one_failed_open_fails_only_the_head() {
    let mut bench = Bench::new(config(1));
    let head = bench.queue();
    let next = bench.queue();
    assert_eq!(bench.start_all(), 1);
    bench.pool.open_failed(bench.now, "refused");
    let refusal = bench.fails(head);
    assert_eq!(
        (refusal.reason, refusal.error),
        (RefuseReason::Connect, Some("refused"))
    );
    assert!(bench.poll(next).is_pending());
    assert_eq!(bench.start_all(), 1);
    bench.opened();
    bench.granted(next);
}

/// The one open that was to serve all has failed: the rest of what makes a back-off goes side by side.
#[test]
fn a_dead_http2_host_costs_two_connect_timeouts() {
    let mut bench = Bench::new(config(16));
    let all = NonZeroUsize::new(usize::MAX).expect("not zero");
    bench.pool.expect_leases(bench.now, all);
    let tickets: Vec<_> = (0..50).map(|_| bench.queue()).collect();
    assert_eq!(bench.start_all(), 1);
    bench.pool.open_failed(bench.now, "timed out");
    assert_eq!(bench.start_all(), 2);
    for left in [1, 0] {
        bench.pool.open_failed(bench.now, "timed out");
        assert_eq!(bench.start_all(), 0, "{left} on their way are enough");
    }
    for ticket in tickets {
        assert_eq!(bench.fails(ticket).error, Some("timed out"));
    }
}

/// Three failures in a row with nothing open.
fn failed(bench: &mut Bench) {
    for _ in 0..3 {
        assert!(bench.pool.start_open(bench.now));
        bench.pool.open_failed(bench.now, "no route");
    }
}

#[test]
fn three_failed_dials_fail_five_hundred_waiters() {
    let mut bench = Bench::new(config(1));
    let tickets: Vec<_> = (0..500).map(|_| bench.queue()).collect();
    failed(&mut bench);
    for ticket in tickets {
        assert_eq!(bench.fails(ticket).error, Some("no route"));
    }
    assert_eq!(bench.pool.stats().opens, 3);
    assert_eq!(bench.start_all(), 0);
}

/// A pool that backs off for 50 ms.
fn backing_off(config: PoolConfig) -> Bench {
    let back_off = BackOff::new().jitter_percent(0);
    let mut bench = Bench::new(config.back_off(back_off));
    for _ in 0..3 {
        bench.queue();
    }
    failed(&mut bench);
    bench
}

#[test]
fn a_newcomer_in_back_off_awaits_the_probe() {
    let mut bench = backing_off(config(8));
    let tickets = [bench.queue(), bench.queue(), bench.queue()];
    assert_eq!(bench.start_all(), 0, "A7: nothing is dialled meanwhile");
    bench.advance(MILLI * 50);
    bench.pool.tick(bench.now);
    assert_eq!(bench.start_all(), 1, "one probe for all");
    let resource = bench.opened();
    for ticket in tickets {
        bench.granted(ticket);
        bench.give_back(resource);
    }
}

/// Growth, which bars a second open beside failures, had forgotten those before the connection served.
#[test]
fn one_probe_follows_a_pause_after_service() {
    let back_off = BackOff::new().jitter_percent(0);
    let mut bench = Bench::new(config(8).back_off(back_off));
    let resource = bench.idle();
    bench.take();
    let tickets = [bench.queue(), bench.queue()];
    assert_eq!(bench.start_all(), 2);
    for _ in tickets {
        bench.pool.open_failed(bench.now, "no route");
    }
    for ticket in tickets {
        bench.give_back(resource);
        bench.granted(ticket);
    }
    bench.give_back(resource);
    bench.gone(resource);
    bench.queue();
    assert_eq!(bench.start_all(), 1);
    bench.pool.open_failed(bench.now, "no route");
    for _ in 0..2 {
        bench.queue();
    }
    assert_eq!(
        bench.start_all(),
        0,
        "the third in a row, and nothing is open"
    );
    bench.advance(MILLI * 50);
    assert_eq!(bench.start_all(), 1, "one probe for all");
}

#[test]
fn a_failed_probe_fails_all_its_waiters() {
    let mut bench = backing_off(config(8));
    let tickets: Vec<_> = (0..500).map(|_| bench.queue()).collect();
    bench.advance(MILLI * 50);
    bench.pool.tick(bench.now);
    assert_eq!(bench.start_all(), 1);
    bench.pool.open_failed(bench.now, "still no route");
    for ticket in tickets {
        let refusal = bench.fails(ticket);
        assert_eq!(
            (refusal.reason, refusal.error),
            (RefuseReason::Connect, Some("still no route"))
        );
    }
    assert_eq!(
        bench.pool.stats().opens,
        4,
        "A7: not one dial after the other"
    );
}

#[test]
fn a_deadline_before_the_probe_fails_at_once() {
    let mut bench = backing_off(config(1));
    for demand in [
        Demand::new().hard_deadline(Some(bench.now + MILLI * 50)),
        Demand::new().ends_at(Some(bench.now + MILLI * 20)),
    ] {
        let Admission::Refused(refusal) = bench.demand(demand) else {
            panic!("it waits for nothing");
        };
        assert_eq!(
            (refusal.reason, refusal.error),
            (RefuseReason::BackingOff, Some("no route"))
        );
    }
    assert!(!bench.pool.is_empty(), "A11: the pause is remembered");
}

#[test]
fn max_waiting_limits_waiters_for_a_probe() {
    let mut bench = backing_off(config(8).max_waiting(2));
    bench.queue();
    bench.queue();
    assert_eq!(bench.refused().reason, RefuseReason::BackingOff);
    let mut bench = backing_off(config(8).max_waiting(0));
    assert_eq!(bench.refused().reason, RefuseReason::BackingOff, "A12");
}

#[test]
fn an_abandoned_probe_fails_none_that_wait() {
    let mut bench = backing_off(config(8));
    let waits = bench.queue();
    bench.advance(MILLI * 50);
    assert_eq!(bench.start_all(), 1);
    bench.pool.open_abandoned(bench.now);
    assert!(bench.poll(waits).is_pending());
    assert_eq!(bench.start_all(), 1, "another probe");
    bench.opened();
    bench.granted(waits);
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
fn failed_probes_double_the_pause_to_its_limit() {
    let back_off = BackOff::new().jitter_percent(0);
    let mut bench = Bench::new(config(8).back_off(back_off));
    for _ in 0..3 {
        bench.queue();
    }
    failed(&mut bench);
    for pause in [50, 100, 200, 400, 800, 1_000, 1_000] {
        bench.advance(MILLI * (pause - 1));
        let ticket = bench.queue();
        assert_eq!(bench.start_all(), 0);
        bench.advance(MILLI);
        assert!(bench.pool.start_open(bench.now));
        bench.pool.open_failed(bench.now, "no route");
        assert_eq!(bench.fails(ticket).reason, RefuseReason::Connect);
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
    for _ in 0..3 {
        assert!(bench.pool.start_open(bench.now));
        bench.pool.open_failed(bench.now, "refused");
    }
    assert!(
        !bench.pool.start_open(bench.now),
        "A14: the peer allows one"
    );
    for ticket in tickets {
        bench.give_back(held);
        assert_eq!(
            bench.granted(ticket).resource,
            held,
            "all kept their chance"
        );
    }
}

#[test]
fn opens_before_a_back_off_never_extend_it() {
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
