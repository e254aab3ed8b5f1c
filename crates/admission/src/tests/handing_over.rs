//! Who gets a lease (A3, A4, A5).

use std::task::Poll;

use tollgate_core::{CloseReason, RefuseReason};

use super::bench::{Bench, MILLI, config};
use super::wakes::Wakes;
use crate::{Admission, Demand, Machine, Returned};

#[test]
fn a_newcomer_does_not_take_a_returned_lease_past_one_who_waits() {
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
fn leases_go_out_in_the_order_in_which_they_were_asked_for() {
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
fn a_retry_waits_at_the_head_even_of_a_full_queue() {
    let mut bench = Bench::new(config(1).max_waiting(1));
    let held = bench.idle();
    bench.take();
    let patient = bench.queue();
    assert_eq!(bench.refused().reason, RefuseReason::Full);
    let Admission::Queued(retry) = bench.demand(Demand::new().retry(true)) else {
        panic!("it had its turn already");
    };
    bench.give_back(held);
    assert_eq!(bench.granted(retry).resource, held);
    assert!(bench.poll(patient).is_pending());
}

#[test]
fn fifty_cancellations_just_after_the_hand_over_destroy_no_connection() {
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
fn a_reservation_that_was_dropped_goes_to_the_next_who_is_woken_for_it() {
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
fn a_lease_that_was_never_used_leaves_age_and_uses_alone() {
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
fn the_open_goes_on_when_the_request_that_caused_it_goes_away() {
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
fn an_open_that_nobody_waits_for_any_more_idles() {
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
fn a_lease_of_a_connection_that_is_gone_comes_back_to_nothing() {
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
fn a_place_is_taken_until_the_socket_is_gone() {
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
