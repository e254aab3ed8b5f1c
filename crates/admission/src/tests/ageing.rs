//! Idle times, lifetimes and uses (A8, A9, A11).

use std::num::NonZeroU64;

use tollgate_core::CloseReason;

use super::bench::{Bench, MILLI, SECOND, config};
use crate::Returned;

#[test]
fn the_newest_idle_connection_is_used_first() {
    let mut bench = Bench::new(config(3));
    let all = [bench.idle(), bench.idle(), bench.idle()];
    assert_eq!(bench.take().resource, all[2]);
    assert_eq!(bench.take().resource, all[1]);
    bench.give_back(all[2]);
    assert_eq!(bench.take().resource, all[2]);
}

#[test]
fn an_idle_timeout_closes_on_time_without_demand() {
    let mut bench = Bench::new(config(1).idle_timeout(Some(SECOND)));
    let resource = bench.idle();
    assert_eq!(bench.pool.next_tick(), Some(bench.now + SECOND));
    bench.advance(MILLI * 999);
    bench.pool.tick(bench.now);
    assert!(bench.closes().is_empty());
    bench.advance(MILLI);
    bench.pool.tick(bench.now);
    assert_eq!(bench.closes(), [(resource, CloseReason::Idle)]);
    assert_eq!(bench.pool.next_tick(), None, "no timer without a purpose");
}

#[test]
fn a_connection_in_use_does_not_time_out() {
    let mut bench = Bench::new(config(1).idle_timeout(Some(SECOND)));
    let resource = bench.idle();
    bench.take();
    bench.advance(SECOND * 20);
    bench.pool.tick(bench.now);
    assert!(bench.closes().is_empty());
    bench.give_back(resource);
    assert_eq!(
        bench.take().resource,
        resource,
        "its idle time begins when it is idle"
    );
}

#[test]
fn no_expired_connection_is_granted_before_its_tick() {
    let mut bench = Bench::new(config(2).idle_timeout(Some(SECOND)));
    let resource = bench.idle();
    bench.advance(SECOND);
    bench.queue();
    assert_eq!(bench.closes(), [(resource, CloseReason::Idle)]);
}

#[test]
fn max_lifetime_ends_a_connection_at_hand_over() {
    // corefx#29397: a connection kept busy was never asked for its age.
    let mut bench = Bench::new(config(1).max_lifetime(Some(SECOND)));
    let old = bench.idle();
    bench.take();
    let ticket = bench.queue();
    bench.advance(SECOND);
    bench.give_back(old);
    assert_eq!(bench.closes(), [(old, CloseReason::MaxAge)]);
    assert!(bench.poll(ticket).is_pending());
    bench.gone(old);
    assert_eq!(bench.start_all(), 1);
    let fresh = bench.opened();
    assert_eq!(bench.granted(ticket).resource, fresh);
}

#[test]
fn connections_opened_together_do_not_end_together() {
    let spread = config(100)
        .max_lifetime(Some(SECOND * 60))
        .lifetime_jitter_percent(10);
    let mut bench = Bench::new(spread.idle_timeout(None).seed(7));
    for _ in 0..100 {
        bench.idle();
    }
    let start = bench.now;
    let mut ends = Vec::new();
    while let Some(next) = bench.pool.next_tick() {
        bench.now = next;
        bench.pool.tick(next);
        let closed = bench.closes().len();
        assert!(closed < 10, "{closed} at once");
        ends.push(next.duration_since(start).as_secs());
    }
    assert!(ends[0] < 57 && *ends.last().expect("ends") > 62, "{ends:?}");
}

#[test]
fn max_requests_retires_a_connection_after_ten() {
    let mut bench = Bench::new(config(1).max_requests_per_connection(NonZeroU64::new(10)));
    for _ in 0..25 {
        if bench.pool.stats().open == 0 {
            bench.idle();
        }
        let resource = bench.take().resource;
        bench.give_back(resource);
        for (resource, reason) in bench.closes() {
            assert_eq!(reason, CloseReason::MaxRequests);
            bench.gone(resource);
        }
    }
    assert_eq!(bench.pool.stats().opened, 3);
}

#[test]
fn the_peers_hints_shorten_and_never_lengthen() {
    let mut bench = Bench::new(config(1).idle_timeout(Some(SECOND)));
    let resource = bench.idle();
    for (hint, expected) in [(MILLI * 300, MILLI * 300), (SECOND * 9, SECOND)] {
        bench.take();
        let returned = Returned::Reusable {
            idle_for: Some(hint),
            remaining_uses: None,
        };
        bench.pool.lease_returned(resource, bench.now, returned);
        bench.advance(expected.saturating_sub(MILLI));
        bench.pool.tick(bench.now);
        assert!(bench.closes().is_empty());
    }
    bench.advance(MILLI);
    bench.pool.tick(bench.now);
    assert_eq!(bench.closes(), [(resource, CloseReason::Idle)]);
}

#[test]
fn keep_alive_hints_lengthen_up_to_their_max() {
    let config = config(1).idle_timeout(Some(SECOND));
    let mut bench = Bench::new(config.keep_alive_hint_max(SECOND * 3));
    for (hint, expected) in [
        (MILLI * 300, MILLI * 300),
        (SECOND * 2, SECOND * 2),
        (SECOND * 9, SECOND * 3),
    ] {
        let resource = bench.idle();
        bench.take();
        let returned = Returned::Reusable {
            idle_for: Some(hint),
            remaining_uses: None,
        };
        bench.pool.lease_returned(resource, bench.now, returned);
        bench.advance(expected.saturating_sub(MILLI));
        bench.pool.tick(bench.now);
        assert!(bench.closes().is_empty());
        bench.advance(MILLI);
        bench.pool.tick(bench.now);
        assert_eq!(bench.closes(), [(resource, CloseReason::Idle)]);
        bench.gone(resource);
    }
}

#[test]
fn keep_alive_max_retires_after_the_last_use() {
    let mut bench = Bench::new(config(1));
    let resource = bench.idle();
    for remaining in [1, 0] {
        bench.take();
        let returned = Returned::Reusable {
            idle_for: None,
            remaining_uses: Some(remaining),
        };
        bench.pool.lease_returned(resource, bench.now, returned);
    }
    assert_eq!(bench.closes(), [(resource, CloseReason::PeerClose)]);
}
