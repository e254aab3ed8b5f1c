//! Which idle connections are kept, reused, spared and reclaimed (A8, A9, A11).

use tollgate_core::CloseReason;

use super::bench::{Bench, MILLI, SECOND, config};
use crate::Returned;

#[test]
fn no_more_idle_connections_are_kept_than_may_be() {
    let mut bench = Bench::new(config(4).max_idle(1));
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
fn the_limit_on_idle_ones_does_not_close_what_a_waiter_can_use() {
    // ClickHouse#58845 counted the active ones, and hardly ever reused any.
    let mut bench = Bench::new(config(1).max_idle(0));
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
fn a_lease_returned_unused_goes_back_to_its_place_among_the_idle() {
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
fn spare_connections_are_replaced_while_the_pool_is_in_use_and_not_for_ever() {
    let config = config(4).min_idle(2).idle_timeout(Some(SECOND * 30));
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
fn a_peer_that_closes_at_once_is_not_dialled_in_a_loop_for_spares() {
    let mut bench = Bench::new(config(4).min_idle(1));
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
fn what_idles_since_a_moment_or_longer_is_retired_and_nothing_else() {
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
