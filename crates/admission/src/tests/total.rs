//! The limit over all origins (A8).

use tokio::time::Instant;

use super::bench::{MILLI, n};
use crate::{Acquire, Total};

fn full(max: usize) -> (Total<&'static str>, Instant) {
    let now = Instant::now();
    let mut total = Total::new(n(max));
    for _ in 0..max {
        assert_eq!(total.acquire(&"busy", now, false), Acquire::Taken);
    }
    (total, now)
}

fn released(total: &mut Total<&'static str>) -> Option<&'static str> {
    total.release(1);
    total.take_free()
}

/// One connection begins to close for those who wait.
const ONE: (usize, usize) = (1, 0);
const NONE: (usize, usize) = (0, 0);

#[test]
fn a_place_goes_to_the_longest_waiting_origin() {
    let (mut total, now) = full(1);
    assert_eq!(total.acquire(&"later", now + MILLI, true), Acquire::Wait);
    assert_eq!(total.acquire(&"earlier", now, true), Acquire::Wait);
    assert_eq!(released(&mut total), Some("earlier"));
    assert_eq!(
        released(&mut total),
        Some("later"),
        "the first did not want it"
    );
    assert_eq!(released(&mut total), None);
    assert_eq!(total.held(), 0);
}

#[test]
fn nobody_takes_a_place_past_those_who_wait() {
    let (mut total, now) = full(1);
    assert_eq!(total.acquire(&"waits", now, true), Acquire::Wait);
    total.release(1);
    assert_eq!(total.acquire(&"comes", now, true), Acquire::Wait);
    assert_eq!(total.take_free(), Some("waits"));
    assert_eq!(total.take_free(), None);
}

#[test]
fn asking_twice_is_waiting_once() {
    let (mut total, now) = full(1);
    assert_eq!(total.acquire(&"a", now, true), Acquire::Wait);
    assert_eq!(total.acquire(&"a", now, true), Acquire::StillWaiting);
    assert_eq!(total.waiting(), 1);
    total.withdraw(&"a");
    assert!(!total.is_blocking());
    assert_eq!(released(&mut total), None);
}

#[test]
fn one_connection_gives_way_for_one_who_starves() {
    let (mut total, now) = full(3);
    assert_eq!(total.acquire(&"none", now, true), Acquire::Wait);
    let own = Some(now + MILLI);
    assert!(total.gives_way(&"busy", own, now + MILLI * 2));
    total.yields(NONE, ONE);
    assert!(
        !total.gives_way(&"busy", own, now + MILLI * 2),
        "one is on its way"
    );
    total.yields(ONE, NONE);
    assert_eq!(released(&mut total), Some("none"));
}

#[test]
fn who_has_waited_longer_does_not_give_way() {
    let (mut total, now) = full(1);
    assert_eq!(total.acquire(&"none", now + MILLI, true), Acquire::Wait);
    assert!(!total.gives_way(&"busy", Some(now), now + MILLI));
    assert!(
        total.gives_way(&"busy", None, now + MILLI),
        "it has no request of its own"
    );
}

#[test]
fn a_second_place_takes_twice_the_wait() {
    let (mut total, now) = full(1);
    assert_eq!(total.acquire(&"has one", now, false), Acquire::Wait);
    let at = now + MILLI * 11;
    let own = |wait| Some(at - MILLI * wait);
    assert!(
        !total.gives_way(&"busy", own(6), at),
        "6 ms of 11 are over half"
    );
    assert!(total.gives_way(&"busy", own(5), at));
}

#[test]
fn one_idle_connection_is_reclaimed_per_waiter() {
    let (mut total, now) = full(2);
    assert_eq!(total.acquire(&"a", now, true), Acquire::Wait);
    assert!(total.is_short());
    total.yields(NONE, ONE);
    assert!(!total.is_short());
    assert_eq!(total.acquire(&"b", now, true), Acquire::Wait);
    assert!(total.is_short());
}

#[test]
fn a_place_given_way_is_not_taken_back() {
    let (mut total, now) = full(1);
    assert_eq!(total.acquire(&"busy", now, false), Acquire::Wait);
    assert_eq!(total.acquire(&"none", now + MILLI, true), Acquire::Wait);
    // Its head of then was served by a returned lease; its head of now came last.
    let head = now + MILLI * 2;
    assert_eq!(total.acquire(&"busy", head, false), Acquire::StillWaiting);
    assert!(total.gives_way(&"busy", Some(head), head));
    assert_eq!(released(&mut total), Some("none"));
}

#[test]
fn a_later_promise_does_not_end_the_shortage() {
    let (mut total, now) = full(2);
    assert_eq!(total.acquire(&"b", now, true), Acquire::Wait);
    total.yields(NONE, (0, 1));
    assert!(
        total.is_short(),
        "a long stream holds it: an idle one is to be closed"
    );
    assert!(
        !total.gives_way(&"busy", Some(now + MILLI), now + MILLI),
        "and no further one promised"
    );
}
