//! Which idle connections are kept, reused, spared and reclaimed (A8, A9, A11).

use tollgate_core::CloseReason;

use super::bench::{Bench, MILLI, SECOND, config, n};
use crate::Returned;

#[test]
fn max_idle_closes_connections_returned_beyond_it() {
    let mut bench = Bench::new(config(4).max_idle_per_origin(1));
    let all: Vec<_> = (0..3)
        .map(|_| {
            let resource = bench.idle();
            bench.take();
            resource
        })
        .collect();
    for resource in &all {
        bench.give_back(*resource);
    }
    let reason = CloseReason::MaxIdle;
    assert_eq!(bench.closes(), [(all[1], reason), (all[2], reason)]);
}

#[test]
fn max_idle_never_evicts_what_a_waiter_needs() {
    // ClickHouse#58845 counted the active ones, and hardly ever reused any.
    let mut bench = Bench::new(config(1).max_idle_per_origin(0));
    bench.queue();
    assert_eq!(bench.start_all(), 1);
    let resource = bench.opened();
    let next = bench.queue();
    bench.give_back(resource);
    assert_eq!(bench.granted(next).resource, resource);
}

#[test]
fn the_oldest_idle_connection_is_the_one_reclaimed() {
    let mut bench = Bench::new(config(3));
    let oldest = bench.idle();
    let since = bench.now;
    bench.advance(MILLI);
    bench.idle();
    assert_eq!(bench.pool.oldest_idle(), Some(since));
    assert!(bench.pool.reclaim_oldest_idle());
    assert_eq!(bench.closes(), [(oldest, CloseReason::Reclaimed)]);
    assert!(bench.pool.reclaim_oldest_idle());
    assert!(!bench.pool.reclaim_oldest_idle());
}

#[test]
fn an_unused_lease_keeps_its_idle_order() {
    let mut bench = Bench::new(config(2));
    let old = bench.idle();
    bench.advance(MILLI);
    let new = bench.idle();
    let leases = [bench.take(), bench.take()];
    assert_eq!(leases.map(|lease| lease.resource), [new, old]);
    bench.pool.lease_returned(new, bench.now, Returned::Unused);
    bench.pool.lease_returned(old, bench.now, Returned::Unused);
    assert_eq!(bench.take().resource, new);
}

#[test]
fn min_idle_is_kept_only_while_in_use() {
    let config = config(4)
        .min_idle_per_origin(2)
        .idle_timeout(Some(SECOND * 30));
    let mut bench = Bench::new(config.max_lifetime(Some(SECOND * 100)));
    assert_eq!(
        bench.pool.next_tick(),
        None,
        "nobody has asked for anything"
    );
    bench.queue();
    bench.pool.tick(bench.now);
    assert_eq!(bench.start_all(), 3, "one for who waits, two to spare");
    for _ in 0..3 {
        bench.opened();
    }
    let start = bench.now;
    let mut opened = 0;
    for _ in 0..10_000 {
        let Some(next) = bench.pool.next_tick() else {
            break;
        };
        bench.now = next;
        bench.pool.tick(next);
        for (resource, _) in bench.closes() {
            bench.gone(resource);
        }
        while bench.pool.start_open(next) {
            bench.opened();
            opened += 1;
        }
    }
    assert!(opened >= 4, "replaced: {opened}");
    let lasted = bench.now - start;
    assert!(
        lasted < SECOND * 140,
        "A11: {lasted:?} after the last request"
    );
    assert_eq!(bench.pool.stats().idle, 0);
}

#[test]
fn idle_connections_that_returned_meanwhile_are_not_missing() {
    let config = config(10).min_idle_per_origin(2);
    let mut bench = Bench::new(config.max_connecting_per_origin(n(2)));
    let tickets = [bench.queue(), bench.queue()];
    bench.pool.tick(bench.now);
    assert_eq!(bench.start_all(), 2, "two more are to come after these");
    for _ in tickets {
        bench.opened();
    }
    for grant in tickets.map(|ticket| bench.granted(ticket)) {
        bench.give_back(grant.resource);
    }
    bench.advance(SECOND);
    bench.pool.tick(bench.now);
    assert_eq!(bench.start_all(), 0);
}

#[test]
fn min_idle_does_not_redial_in_a_loop() {
    let mut bench = Bench::new(config(4).min_idle_per_origin(1));
    bench.queue();
    bench.pool.tick(bench.now);
    let mut opens = 0;
    for _ in 0..100 {
        while bench.pool.start_open(bench.now) {
            let resource = bench.opened();
            bench.gone(resource);
            opens += 1;
        }
        bench.pool.tick(bench.now);
        bench.advance(MILLI * 100);
    }
    assert!(opens <= 13, "{opens} in ten seconds");
}

#[test]
fn a_pool_that_nobody_uses_is_empty() {
    let mut bench = Bench::new(config(2).idle_timeout(Some(SECOND)));
    assert!(bench.pool.is_empty());
    let ticket = bench.queue();
    assert!(!bench.pool.is_empty());
    assert_eq!(bench.start_all(), 1);
    bench.pool.cancel(ticket, bench.now);
    assert!(!bench.pool.is_empty(), "an open is in progress");
    let resource = bench.opened();
    bench.advance(SECOND);
    bench.pool.tick(bench.now);
    assert!(!bench.pool.is_empty(), "its socket is there");
    bench.gone(resource);
    assert!(bench.pool.is_empty());
}

#[test]
fn retire_idle_until_keeps_newer_idle_connections() {
    let mut bench = Bench::new(config(3));
    let [oldest, at_the_moment, newer] = [(); 3].map(|()| {
        bench.advance(MILLI);
        bench.idle()
    });
    let moment = bench.now - MILLI;
    bench.pool.retire_idle_until(moment, CloseReason::Idle);
    let closed = [oldest, at_the_moment].map(|id| (id, CloseReason::Idle));
    assert_eq!(bench.closes(), closed);
    assert_eq!(bench.take().resource, newer);
    assert_eq!(bench.pool.places(), 3, "their sockets are not gone yet");
}
