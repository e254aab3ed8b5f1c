//! Leases that are about to come back when somebody asks (A2).

use tollgate_core::CloseReason;

use super::bench::{Bench, MILLI, config};
use crate::{ResourceId, Returned};

/// A pool whose only connection is about to be idle again.
fn ending() -> (Bench, ResourceId) {
    let mut bench = Bench::new(config(8));
    let resource = bench.idle();
    bench.take();
    bench.pool.lease_ending(resource, bench.now);
    (bench, resource)
}

#[test]
fn a_lease_about_to_return_saves_a_dial() {
    let (mut bench, resource) = ending();
    let ticket = bench.queue();
    assert_eq!(bench.start_all(), 0);
    bench.give_back(resource);
    assert_eq!(bench.granted(ticket).resource, resource);
    assert_eq!(bench.pool.stats().opens, 1);
}

#[test]
fn an_ending_lease_saves_a_burst_one_dial() {
    let (mut bench, resource) = ending();
    let tickets: Vec<_> = (0..5).map(|_| bench.queue()).collect();
    assert_eq!(bench.start_all(), 4, "one waits for what comes back");
    bench.give_back(resource);
    assert_eq!(
        bench.granted(tickets[0]).resource,
        resource,
        "A4: the first"
    );
}

#[test]
fn an_ending_lease_delays_dials_by_ten_ms() {
    let (mut bench, _) = ending();
    let ticket = bench.queue();
    let due = bench.now + MILLI * 10;
    assert!(bench.pool.ticks_sooner());
    assert!(bench.pool.next_tick().is_some_and(|at| at <= due));
    bench.advance(MILLI * 9);
    bench.pool.tick(bench.now);
    assert_eq!(bench.start_all(), 0);
    assert!(bench.pool.next_tick().is_some_and(|at| at <= due));
    bench.advance(MILLI);
    bench.pool.tick(bench.now);
    assert_eq!(bench.start_all(), 1);
    bench.opened();
    bench.granted(ticket);
}

#[test]
fn a_lost_ending_lease_is_dialled_for_immediately() {
    let (mut bench, resource) = ending();
    bench.queue();
    let lost = Returned::Retire(CloseReason::PeerEof);
    bench.pool.lease_returned(resource, bench.now, lost);
    assert_eq!(bench.start_all(), 1);

    let (mut bench, resource) = ending();
    bench.queue();
    bench.gone(resource);
    assert_eq!(bench.start_all(), 1);

    let (mut bench, resource) = ending();
    bench.queue();
    bench.pool.retire(resource, CloseReason::MaxAge);
    assert_eq!(bench.start_all(), 1, "it does not serve on");
}

#[test]
fn an_ending_lease_counts_once_until_its_return() {
    let (mut bench, resource) = ending();
    bench.pool.lease_ending(resource, bench.now);
    let first = bench.queue();
    bench.queue();
    assert_eq!(bench.start_all(), 1);
    bench.give_back(resource);
    bench.granted(first);
    bench.queue();
    assert_eq!(
        bench.start_all(),
        1,
        "it is out again, for as long as it takes"
    );
}
