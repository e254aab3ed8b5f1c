//! How long one waits, and what one is told (A6).

use std::error::Error;
use std::task::Poll;

use tollgate_core::RefuseReason;

use super::bench::{Bench, MILLI, SECOND, config};
use super::wakes::Wakes;
use crate::{Admission, Demand, Machine, Refusal};

#[test]
fn a_full_queue_refuses_with_the_number_waiting() {
    let mut bench = Bench::new(config(2).max_waiting(3));
    for _ in 0..5 {
        bench.queue();
    }
    let refusal = bench.refused();
    assert_eq!(
        (refusal.reason, refusal.ahead),
        (RefuseReason::QueueFull, 5)
    );
    assert_eq!(refusal.to_string(), "the queue is full: 5 are waiting");
}

#[test]
fn max_waiting_zero_still_admits_an_own_open() {
    let mut bench = Bench::new(config(1).max_waiting(0));
    let first = bench.queue();
    assert_eq!(bench.refused().reason, RefuseReason::QueueFull);
    assert_eq!(bench.start_all(), 1);
    bench.opened();
    bench.granted(first);
    assert_eq!(bench.refused().reason, RefuseReason::QueueFull);
}

#[test]
fn a_queue_timeout_reports_wait_and_position() {
    let mut bench = Bench::new(config(1).acquire_timeout(SECOND));
    bench.idle();
    bench.take();
    bench.queue();
    let ticket = bench.queue();
    assert_eq!(bench.pool.deadline(ticket), Some(bench.now + SECOND));
    bench.advance(SECOND * 2);
    let refusal = bench.fails(ticket);
    assert_eq!(
        (refusal.reason, refusal.overdue),
        (RefuseReason::QueueTimeout, false)
    );
    assert_eq!(
        (refusal.waited, refusal.ahead),
        (SECOND * 2, 1),
        "as it was, not as set"
    );
    assert_eq!(refusal.to_string(), "no lease within 2s, 1 were ahead");
}

#[test]
fn a_lease_beats_an_unnoticed_timeout() {
    let mut bench = Bench::new(config(1).acquire_timeout(SECOND));
    let held = bench.idle();
    bench.take();
    let ticket = bench.queue();
    bench.advance(SECOND);
    bench.give_back(held);
    bench.advance(SECOND);
    assert_eq!(bench.granted(ticket).waited, SECOND);
}

#[test]
fn a_request_that_is_over_is_passed_by() {
    let mut bench = Bench::new(config(1));
    let held = bench.idle();
    bench.take();
    let over = Demand::new().hard_deadline(Some(bench.now + MILLI));
    let Admission::Queued(over) = bench.demand(over) else {
        panic!("not over yet");
    };
    let next = bench.queue();
    bench.advance(MILLI);
    bench.give_back(held);
    assert_eq!(bench.granted(next).resource, held);
    assert!(bench.fails(over).overdue);
}

#[test]
fn a_deadline_after_reservation_hands_the_lease_on() {
    let mut bench = Bench::new(config(1));
    let held = bench.idle();
    bench.take();
    let over = Demand::new().hard_deadline(Some(bench.now + MILLI));
    let Admission::Queued(over) = bench.demand(over) else {
        panic!("not over yet");
    };
    let next = bench.queue();
    bench.give_back(held);
    bench.advance(MILLI);
    assert!(bench.fails(over).overdue);
    assert_eq!(bench.granted(next).resource, held);
}

#[test]
fn an_expired_request_is_neither_granted_nor_dialled() {
    let mut bench = Bench::new(config(1));
    let over = Demand::new().hard_deadline(Some(bench.now));
    assert!(matches!(bench.demand(over), Admission::Refused(why) if why.overdue));
    assert_eq!(bench.start_all(), 0);
    bench.idle();
    assert!(matches!(bench.demand(over), Admission::Refused(why) if why.overdue));
}

#[test]
fn nothing_is_dialled_after_the_acquire_timeout() {
    let mut bench = Bench::new(config(1).acquire_timeout(SECOND));
    let ticket = bench.queue();
    bench.advance(SECOND);
    assert!(bench.pool.wants_open(bench.now), "nobody has looked yet");
    assert_eq!(bench.start_all(), 0);
    assert_eq!(bench.fails(ticket).reason, RefuseReason::QueueTimeout);
}

#[test]
fn the_acquire_clock_stops_during_an_own_open() {
    let mut bench = Bench::new(config(1).acquire_timeout(SECOND));
    let first = bench.queue();
    let second = bench.queue();
    bench.advance(MILLI * 400);
    assert_eq!(bench.start_all(), 1);
    assert_eq!(bench.pool.deadline(first), None, "the dial has its own");
    assert!(bench.pool.deadline(second).is_some(), "one open, one clock");
    bench.advance(SECOND * 5);
    assert!(bench.poll(first).is_pending());
    assert_eq!(bench.fails(second).reason, RefuseReason::QueueTimeout);
    bench.opened();
    bench.granted(first);
}

#[test]
fn ones_own_deadline_does_not_stand_still() {
    let mut bench = Bench::new(config(1));
    let end = bench.now + SECOND;
    let Admission::Queued(ticket) = bench.demand(Demand::new().hard_deadline(Some(end))) else {
        panic!("nothing is open");
    };
    assert_eq!(bench.start_all(), 1);
    assert_eq!(bench.pool.deadline(ticket), Some(end));
    bench.advance(SECOND);
    assert!(bench.fails(ticket).overdue);
}

#[test]
fn a_retry_takes_over_the_heads_open() {
    let mut bench = Bench::new(config(1).acquire_timeout(SECOND));
    let displaced = bench.queue();
    let (wakes, waker) = Wakes::new();
    bench.advance(MILLI * 400);
    assert_eq!(bench.start_all(), 1);
    assert!(bench.pool.poll(displaced, bench.now, &waker).is_pending());
    bench.advance(SECOND * 9);
    let Admission::Queued(retry) = bench.demand(Demand::new().retry(true)) else {
        panic!("nothing is open");
    };
    drop(bench.pool.take_effects());
    assert_eq!(wakes.count(), 1, "to set its timer");
    assert_eq!(bench.pool.deadline(retry), None);
    let left = bench.now + MILLI * 600;
    assert_eq!(bench.pool.deadline(displaced), Some(left), "what was left");
}

#[test]
fn the_last_polled_waker_is_the_one_woken() {
    let mut bench = Bench::new(config(1));
    let held = bench.idle();
    bench.take();
    let ticket = bench.queue();
    let (old, old_waker) = Wakes::new();
    let (new, new_waker) = Wakes::new();
    for waker in [&old_waker, &old_waker, &new_waker] {
        assert_eq!(bench.pool.poll(ticket, bench.now, waker), Poll::Pending);
    }
    bench.give_back(held);
    drop(bench.pool.take_effects());
    assert_eq!((old.count(), new.count()), (0, 1));
}

#[test]
fn cancelling_a_wait_for_capacity_counts_as_abandoned() {
    let mut bench = Bench::new(config(1));
    bench.idle();
    bench.take();
    for (wait, reason) in [
        (SECOND, RefuseReason::Abandoned),
        (MILLI, RefuseReason::Abandoned),
        (MILLI / 2, RefuseReason::Cancelled),
    ] {
        let ticket = bench.queue();
        bench.advance(wait);
        let left = bench.pool.cancel(ticket, bench.now);
        assert_eq!((left.reason, left.waited), (reason, wait));
        assert!(left.opening.is_zero());
    }
    let totals = bench.pool.stats().totals;
    assert_eq!((totals.cancelled, totals.abandoned), (3, 2));
}

#[test]
fn cancelling_an_own_open_is_not_abandonment() {
    let mut bench = Bench::new(config(1));
    let ticket = bench.queue();
    assert_eq!(bench.start_all(), 1);
    bench.advance(SECOND);
    let left = bench.pool.cancel(ticket, bench.now);
    assert_eq!(
        (left.reason, left.opening),
        (RefuseReason::Cancelled, SECOND)
    );
    assert_eq!(bench.pool.stats().totals.abandoned, 0);
}

/// A wait has two parts, and a ticket may go from one to the other and back.
#[test]
fn waits_for_capacity_and_open_are_separate() {
    let mut bench = Bench::new(config(2));
    let held = bench.idle();
    bench.take();
    let ticket = bench.queue();
    assert_eq!(bench.start_all(), 1);
    let behind = bench.queue();
    assert_eq!(bench.pool.queued_for_open(), 1);
    bench.advance(SECOND);
    bench.give_back(held);
    let grant = bench.granted(ticket);
    assert_eq!((grant.waited, grant.opening), (SECOND, SECOND));
    // The open is now for the one that had waited for capacity.
    assert_eq!(bench.pool.queued_for_open(), 1);
    bench.advance(SECOND * 2);
    bench.opened();
    let grant = bench.granted(behind);
    assert_eq!((grant.waited, grant.opening), (SECOND * 3, SECOND * 2));
    assert_eq!(bench.pool.queued_for_open(), 0);
}

#[test]
fn the_time_of_a_failed_open_is_remembered() {
    let mut bench = Bench::new(config(2));
    let held = bench.idle();
    bench.take();
    let ticket = bench.queue();
    assert_eq!(bench.start_all(), 1);
    bench.advance(SECOND);
    bench.pool.open_failed(bench.now, "no route");
    bench.advance(SECOND);
    bench.give_back(held);
    let grant = bench.granted(ticket);
    assert_eq!((grant.waited, grant.opening), (SECOND * 2, SECOND));
}

#[test]
fn a_collected_ticket_can_be_cancelled_harmlessly() {
    let mut bench = Bench::new(config(1));
    let ticket = bench.queue();
    assert_eq!(bench.start_all(), 1);
    let held = bench.opened();
    bench.granted(ticket);
    bench.pool.cancel(ticket, bench.now);
    assert_eq!(bench.fails(ticket).reason, RefuseReason::Cancelled);
    assert_eq!(bench.pool.resource(held).map(|info| info.leases), Some(1));
    let totals = bench.pool.stats().totals;
    assert_eq!((totals.demands, totals.settled()), (1, 1));
}

#[test]
fn a_given_up_ticket_hands_its_reservation_on() {
    let mut bench = Bench::new(config(1));
    let held = bench.idle();
    bench.take();
    let [first, second] = [bench.queue(), bench.queue()];
    bench.give_back(held);
    bench
        .pool
        .give_up(first, bench.now, RefuseReason::ClosedBeforeSent);
    bench.granted(second);
    let third = bench.queue();
    for _twice in 0..2 {
        bench
            .pool
            .give_up(third, bench.now, RefuseReason::NoRuntime);
    }
    let totals = bench.pool.stats().totals;
    assert_eq!((totals.failed, totals.refused, totals.cancelled), (1, 1, 0));
    assert_eq!(totals.demands, totals.settled());
}

#[test]
fn a_refusal_displays_its_reason_and_source() {
    let refusal = |reason, error| Refusal {
        reason,
        waited: SECOND,
        opening: std::time::Duration::ZERO,
        ahead: 3,
        overdue: false,
        late: None,
        error,
    };
    let texts = RefuseReason::ALL
        .iter()
        .map(|reason| refusal(*reason, None::<std::fmt::Error>));
    let texts: Vec<_> = texts.map(|refusal| refusal.to_string()).collect();
    assert_eq!(
        texts,
        [
            "the queue is full: 3 are waiting",
            "no lease within 1s, 3 were ahead",
            "cancelled",
            "abandoned",
            "the connection could not be opened",
            "backing off after failed connects",
            "draining or closed",
            "each connection closed before it could be used",
            "outside a runtime",
        ]
    );
    let failed = refusal(RefuseReason::Connect, Some(std::fmt::Error));
    let source = failed.source().expect("the error of the open");
    assert!(source.is::<std::fmt::Error>());
}
