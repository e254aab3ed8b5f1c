//! Connections of many leases, as HTTP/2 has them.

use tollgate_core::CloseReason;

use super::bench::{Bench, MILLI, SECOND, config, n};
use crate::{ResourceId, ResourceState, Returned};

fn shared(bench: &mut Bench, capacity: usize) -> ResourceId {
    bench.pool.warm(bench.pool.places() + 1);
    assert_eq!(bench.start_all(), 1);
    bench.pool.opened(bench.now, n(capacity))
}

#[test]
fn one_connection_serves_as_many_as_it_offers() {
    let mut bench = Bench::new(config(1));
    let tickets: Vec<_> = (0..4).map(|_| bench.queue()).collect();
    assert_eq!(bench.start_all(), 1);
    let resource = bench.pool.opened(bench.now, n(3));
    for ticket in &tickets[..3] {
        assert_eq!(bench.granted(*ticket).resource, resource);
    }
    assert!(bench.poll(tickets[3]).is_pending());
    assert_eq!(bench.pool.stats().in_flight, 3);
    assert_eq!(bench.pool.stats().active, 1);
}

#[test]
fn the_least_loaded_connection_gets_the_next() {
    let mut bench = Bench::new(config(2));
    let first = shared(&mut bench, 4);
    let second = shared(&mut bench, 4);
    let taken: Vec<_> = (0..4).map(|_| bench.take().resource).collect();
    let on_first = taken.iter().filter(|id| **id == first).count();
    assert_eq!(on_first, 2);
    bench.give_back(second);
    assert_eq!(bench.take().resource, second);
}

#[test]
fn a_burst_dials_a_known_http2_origin_once() {
    let mut bench = Bench::new(config(8));
    bench.pool.expect_leases(bench.now, n(100));
    let tickets: Vec<_> = (0..50).map(|_| bench.queue()).collect();
    assert_eq!(bench.start_all(), 1);
    assert_eq!(bench.pool.deadline(tickets[49]), None);
    // It was wrong: there is one lease, and the others' clocks run again.
    bench.opened();
    bench.granted(tickets[0]);
    assert!(bench.pool.deadline(tickets[49]).is_some());
    assert_eq!(bench.start_all(), 7, "now one each, up to the limit");
}

#[test]
fn growing_credit_serves_and_shrinking_revokes_nothing() {
    let mut bench = Bench::new(config(1));
    let resource = shared(&mut bench, 2);
    bench.take();
    bench.take();
    let ticket = bench.queue();
    bench.pool.credit_changed(resource, bench.now, 0);
    bench.give_back(resource);
    assert!(bench.poll(ticket).is_pending(), "nothing is offered");
    assert_eq!(bench.pool.stats().in_flight, 1);
    bench.pool.credit_changed(resource, bench.now, 2);
    assert_eq!(bench.granted(ticket).resource, resource);
}

#[test]
fn idle_connections_without_credit_are_skipped_and_expire() {
    let mut bench = Bench::new(config(2).idle_timeout(Some(SECOND)));
    let plain = bench.idle();
    let resource = shared(&mut bench, 2);
    bench.pool.credit_changed(resource, bench.now, 0);
    assert_eq!(bench.take().resource, plain);
    bench.advance(SECOND);
    bench.pool.tick(bench.now);
    assert_eq!(bench.closes(), [(resource, CloseReason::Idle)]);
}

#[test]
fn max_draining_bounds_connections_beside_their_replacements() {
    let mut bench = Bench::new(config(1).max_draining(1));
    for beside in [true, false] {
        let resource = shared(&mut bench, 2);
        bench.take();
        bench.pool.retire(resource, CloseReason::PeerClose);
        assert!(bench.closes().is_empty(), "it finishes what it has");
        assert_eq!(bench.pool.stats().open, 0);
        bench.queue();
        assert_eq!(bench.pool.wants_open(bench.now), beside);
        if beside {
            let ticket = bench.pool.line()[0];
            bench.pool.cancel(ticket, bench.now);
        }
    }
    assert_eq!(bench.pool.stats().draining, 2);
}

#[test]
fn the_last_stream_closes_a_draining_connection() {
    // Go#39752 took it out of the pool and never closed it.
    let mut bench = Bench::new(config(1));
    let resource = shared(&mut bench, 2);
    bench.take();
    bench.take();
    bench.pool.retire(resource, CloseReason::PeerClose);
    bench.give_back(resource);
    assert!(bench.closes().is_empty());
    bench.give_back(resource);
    assert_eq!(bench.closes(), [(resource, CloseReason::PeerClose)]);
    assert_eq!(
        (bench.pool.stats().draining, bench.pool.stats().closing),
        (0, 1)
    );
}

#[test]
fn a_busy_connection_drains_when_its_lifetime_ends() {
    let mut bench = Bench::new(config(1).max_lifetime(Some(SECOND)));
    let resource = shared(&mut bench, 2);
    bench.take();
    assert_eq!(bench.pool.next_tick(), Some(bench.now + SECOND));
    bench.advance(SECOND);
    bench.pool.tick(bench.now);
    assert_eq!(
        state(&bench, resource),
        Some(ResourceState::Live),
        "it could serve"
    );
    assert_eq!(bench.start_all(), 0, "no request needs a replacement");
    assert_eq!(bench.take().resource, resource);
    assert_eq!(bench.start_all(), 1, "its replacement, beside it");
    let fresh = bench.pool.opened(bench.now, n(2));
    let retired = ResourceState::Retiring(CloseReason::MaxAge);
    assert_eq!(state(&bench, resource), Some(retired));
    assert_eq!(bench.take().resource, fresh);
}

fn state(bench: &Bench, resource: ResourceId) -> Option<ResourceState> {
    bench.pool.resource(resource).map(|info| info.state)
}

#[test]
fn lifetimes_with_long_streams_bar_no_new_connection() {
    let mut bench = Bench::new(config(4).max_lifetime(Some(SECOND)));
    shared(&mut bench, 100);
    for _ in 0..8 {
        bench.take();
        bench.advance(SECOND * 2);
        bench.pool.tick(bench.now);
        while bench.start_all() > 0 {
            bench.pool.opened(bench.now, n(100));
        }
    }
    bench.take();
    let stats = bench.pool.stats();
    assert!(stats.draining <= 4 && stats.open >= 1, "{stats:?}");
}

#[test]
fn goaways_with_open_streams_bar_no_dial() {
    let mut bench = Bench::new(config(4));
    for _ in 0..12 {
        let ticket = bench.queue();
        bench.pool.make_room();
        for (resource, _) in bench.closes() {
            bench
                .pool
                .resource_gone(resource, bench.now, CloseReason::Error);
        }
        assert_eq!(bench.start_all(), 1, "{:?}", bench.pool.stats());
        let resource = bench.pool.opened(bench.now, n(100));
        assert_eq!(bench.granted(ticket).resource, resource);
        bench.pool.retire(resource, CloseReason::PeerClose);
        bench.advance(MILLI);
    }
    assert!(bench.pool.stats().draining <= 8);
}

#[test]
fn a_drain_ends_at_its_timeout() {
    let mut bench = Bench::new(config(1).drain_timeout(Some(SECOND)));
    let resource = shared(&mut bench, 2);
    bench.take();
    bench.pool.retire(resource, CloseReason::PeerClose);
    bench.pool.tick(bench.now);
    assert_eq!(bench.pool.next_tick(), Some(bench.now + SECOND));
    bench.advance(SECOND);
    bench.pool.tick(bench.now);
    assert_eq!(bench.closes(), [(resource, CloseReason::DrainTimeout)]);
}

#[test]
fn a_goaway_takes_an_uncollected_reservation_back() {
    let mut bench = Bench::new(config(1));
    let resource = shared(&mut bench, 2);
    bench.take();
    bench.take();
    let ticket = bench.queue();
    bench.give_back(resource);
    bench.pool.retire(resource, CloseReason::PeerClose);
    assert!(
        bench.poll(ticket).is_pending(),
        "its stream would be refused"
    );
    assert_eq!(bench.start_all(), 1);
    bench.advance(MILLI);
    let fresh = bench.opened();
    assert_eq!(bench.granted(ticket).resource, fresh);
    bench
        .pool
        .lease_returned(resource, bench.now, Returned::reusable());
    assert_eq!(bench.closes(), [(resource, CloseReason::PeerClose)]);
}
