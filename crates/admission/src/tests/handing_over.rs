//! Who gets a lease (A3, A4, A5).

use std::task::Poll;
use std::time::Duration;

use tollgate_core::{CloseReason, RefuseReason};

use super::bench::{Bench, MILLI, SECOND, config};
use super::wakes::Wakes;
use crate::{Admission, Demand, Machine, Returned};

#[test]
fn a_newcomer_never_barges_past_a_waiter() {
    let mut bench = Bench::new(config(1));
    let held = bench.idle();
    bench.take();
    let first = bench.queue();
    bench.give_back(held);
    let second = bench.queue();
    assert_eq!(bench.granted(first).resource, held);
    assert!(bench.poll(second).is_pending());
}

#[test]
fn leases_are_granted_in_fifo_order() {
    let mut bench = Bench::new(config(1));
    let held = bench.idle();
    bench.take();
    let tickets: Vec<_> = (0..5).map(|_| bench.queue()).collect();
    for (ahead, ticket) in tickets.into_iter().enumerate() {
        bench.advance(MILLI);
        bench.give_back(held);
        let grant = bench.granted(ticket);
        assert_eq!(grant.ahead, ahead);
        assert_eq!(grant.waited, MILLI * (ahead as u32 + 1));
    }
}

#[test]
fn a_retry_heads_even_a_full_queue() {
    let mut bench = Bench::new(config(1).max_waiting(1));
    let held = bench.idle();
    bench.take();
    let patient = bench.queue();
    assert_eq!(bench.refused().reason, RefuseReason::QueueFull);
    let Admission::Queued(retry) = bench.demand(Demand::new().retry(true)) else {
        panic!("it had its turn already");
    };
    bench.give_back(held);
    assert_eq!(bench.granted(retry).resource, held);
    assert!(bench.poll(patient).is_pending());
}

#[test]
fn retries_are_served_in_order_of_arrival() {
    let mut bench = Bench::new(config(1));
    let held = bench.idle();
    bench.take();
    let patient = bench.queue();
    let came = bench.now;
    bench.advance(SECOND);
    // The second to arrive asks again first, and one that does not say when it arrived came last.
    let retries = [Some(MILLI), Some(Duration::ZERO), Some(MILLI), None].map(|after| {
        let arrived = after.map(|after| came + after);
        match bench.demand(Demand::new().retry(true).arrived(arrived)) {
            Admission::Queued(ticket) => ticket,
            other => panic!("not queued: {other:?}"),
        }
    });
    for (ahead, at) in [(0, 1), (0, 0), (2, 2), (3, 3)] {
        bench.give_back(held);
        assert_eq!(bench.granted(retries[at]).ahead, ahead);
    }
    bench.give_back(held);
    bench.granted(patient);
}

/// Reservations that are lost come back to the line in the order in which the requests arrived, whichever
/// is polled first.
#[test]
fn lost_reservations_keep_the_order_of_arrival() {
    let mut bench = Bench::new(config(2));
    let held = [bench.idle(), bench.idle()];
    bench.take();
    bench.take();
    let first = bench.queue();
    bench.advance(MILLI);
    let second = bench.queue();
    for resource in held {
        bench.give_back(resource);
        bench.gone(resource);
    }
    for ticket in [second, first] {
        assert!(bench.poll(ticket).is_pending(), "its connection is gone");
    }
    assert_eq!(bench.pool.line(), [first, second]);
}

#[test]
fn cancellation_after_hand_over_destroys_no_connection() {
    let mut bench = Bench::new(config(1));
    let held = bench.idle();
    bench.take();
    for _ in 0..50 {
        let leaver = bench.queue();
        bench.give_back(held);
        assert_eq!(bench.pool.stats().idle, 0, "it is reserved");
        bench.pool.cancel(leaver, bench.now);
        assert!(bench.closes().is_empty());
        assert_eq!(bench.take().resource, held);
    }
    let stats = bench.pool.stats();
    assert_eq!((stats.opened, stats.totals.cancelled), (1, 50));
}

#[test]
fn a_dropped_reservation_wakes_the_next_waiter() {
    let mut bench = Bench::new(config(1));
    let held = bench.idle();
    bench.take();
    let first = bench.queue();
    let second = bench.queue();
    let (wakes, waker) = Wakes::new();
    assert!(bench.pool.poll(second, bench.now, &waker).is_pending());
    bench.give_back(held);
    drop(bench.pool.take_effects());
    assert_eq!(wakes.count(), 0, "the lease is the first one's");
    bench.pool.cancel(first, bench.now);
    drop(bench.pool.take_effects());
    assert_eq!(wakes.count(), 1);
    let grant = bench.granted(second);
    assert!(grant.reused);
    assert_eq!(bench.pool.resource(held).map(|info| info.served), Some(2));
}

#[test]
fn an_unused_lease_changes_no_age_or_uses() {
    let mut bench = Bench::new(config(1));
    let held = bench.idle();
    let before = bench.pool.resource(held);
    bench.advance(MILLI * 10);
    bench.take();
    bench.pool.lease_returned(held, bench.now, Returned::Unused);
    assert_eq!(bench.pool.resource(held), before);
    assert!(!bench.take().reused);
}

#[test]
fn an_open_survives_its_cancelled_request() {
    let mut bench = Bench::new(config(4));
    let leaver = bench.queue();
    assert_eq!(bench.start_all(), 1);
    bench.pool.cancel(leaver, bench.now);
    let other = bench.queue();
    assert_eq!(bench.start_all(), 0, "one is on its way");
    let resource = bench.opened();
    assert_eq!(bench.granted(other).resource, resource);
}

#[test]
fn an_open_without_a_waiter_idles() {
    let mut bench = Bench::new(config(4));
    let leaver = bench.queue();
    assert_eq!(bench.start_all(), 1);
    bench.pool.cancel(leaver, bench.now);
    let resource = bench.opened();
    assert!(bench.closes().is_empty());
    assert_eq!(bench.take().resource, resource);
}

#[test]
fn whose_reserved_connection_ends_waits_again_and_first() {
    let mut bench = Bench::new(config(1));
    let held = bench.idle();
    bench.take();
    let unlucky = bench.queue();
    let other = bench.queue();
    bench.give_back(held);
    bench.gone(held);
    assert!(bench.poll(unlucky).is_pending(), "nothing to have");
    assert_eq!(bench.start_all(), 1);
    let fresh = bench.opened();
    assert_eq!(bench.granted(unlucky).resource, fresh);
    assert!(bench.poll(other).is_pending());
}

#[test]
fn returning_a_gone_connections_lease_is_ignored() {
    let mut bench = Bench::new(config(1));
    let held = bench.idle();
    bench.take();
    bench.gone(held);
    assert_eq!(bench.pool.stats().in_flight, 0);
    let next = bench.idle();
    bench.give_back(held);
    bench.pool.retire(held, CloseReason::Error);
    assert!(bench.closes().is_empty());
    assert_eq!(bench.take().resource, next);
}

#[test]
fn a_place_is_held_until_its_socket_closes() {
    let mut bench = Bench::new(config(1));
    let held = bench.idle();
    bench.take();
    let waiter = bench.queue();
    let reason = CloseReason::BodyDropped;
    bench
        .pool
        .lease_returned(held, bench.now, Returned::Retire(reason));
    assert_eq!(bench.closes(), [(held, reason)]);
    assert_eq!(bench.start_all(), 0, "its socket is still there");
    let gone = bench
        .pool
        .resource_gone(held, bench.now, CloseReason::PeerEof);
    assert_eq!(
        gone.map(|gone| gone.reason),
        Some(reason),
        "the first reason stays"
    );
    assert_eq!(bench.start_all(), 1);
    bench.opened();
    assert!(matches!(bench.poll(waiter), Poll::Ready(Ok(_))));
}

#[test]
fn an_uncollected_reservation_lapses_to_the_next_waiter() {
    let mut bench = Bench::new(config(1));
    let resource = bench.idle();
    bench.take();
    let (unpolled, next) = (bench.queue(), bench.queue());
    bench.give_back(resource);
    assert!(bench.poll(next).is_pending(), "the first has it");
    bench.advance(SECOND);
    assert!(bench.pool.next_tick().is_some_and(|due| due <= bench.now));
    bench.pool.tick(bench.now);
    assert_eq!(bench.granted(next).resource, resource);
    assert!(bench.poll(unpolled).is_pending(), "it waits again");
    let last = bench.queue();
    bench.give_back(resource);
    assert_eq!(bench.granted(unpolled).resource, resource, "at the head");
    assert!(bench.poll(last).is_pending());
}

#[test]
fn cancelling_a_lapsed_reservation_leaks_nothing() {
    let mut bench = Bench::new(config(1));
    let resource = bench.idle();
    bench.take();
    let ticket = bench.queue();
    bench.give_back(resource);
    bench.advance(SECOND);
    bench.pool.tick(bench.now);
    assert_eq!(bench.pool.stats().idle, 1);
    bench.pool.cancel(ticket, bench.now);
    assert_eq!(bench.pool.stats().unanswered, 0);
}
