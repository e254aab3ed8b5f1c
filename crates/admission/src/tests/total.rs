//! The limit over all origins (A8).

use tokio::time::Instant;

use super::bench::{MILLI, n};
use crate::{Place, Total};

fn full(max: usize) -> (Total<&'static str>, Instant) {
    let now = Instant::now();
    let mut total = Total::new(n(max));
    for _ in 0..max {
        assert_eq!(total.acquire(&"busy", now, false), Place::Taken);
    }
    (total, now)
}

#[test]
fn a_place_goes_to_who_has_waited_longest_whenever_they_came() {
    let (mut total, now) = full(1);
    assert_eq!(total.acquire(&"later", now + MILLI, true), Place::Wait);
    assert_eq!(total.acquire(&"earlier", now, true), Place::Wait);
    assert_eq!(total.release(), Some("earlier"));
    assert_eq!(total.release(), Some("later"), "the first did not want it");
    assert_eq!(total.release(), None);
    assert_eq!(total.held(), 0);
}

#[test]
fn nobody_takes_a_place_past_those_who_wait() {
    let (mut total, now) = full(1);
    assert_eq!(total.acquire(&"waits", now, true), Place::Wait);
    total.resize(n(2));
    assert_eq!(total.acquire(&"comes", now, true), Place::Wait);
    assert_eq!(total.take_free(), Some("waits"));
    assert_eq!(total.take_free(), None);
}

#[test]
fn asking_twice_is_waiting_once() {
    let (mut total, now) = full(1);
    assert_eq!(total.acquire(&"a", now, true), Place::Wait);
    assert_eq!(total.acquire(&"a", now, true), Place::StillWaiting);
    assert_eq!(total.waiting(), 1);
    total.withdraw(&"a");
    assert!(!total.is_blocking());
    assert_eq!(total.release(), None);
}

#[test]
fn one_connection_gives_way_for_one_who_starves() {
    let (mut total, now) = full(3);
    assert_eq!(total.acquire(&"none", now, true), Place::Wait);
    let own = Some(now + MILLI);
    assert!(total.gives_way(&"busy", own));
    assert!(!total.gives_way(&"busy", own), "one is on its way");
    assert_eq!(total.release(), Some("none"));
}

#[test]
fn who_has_waited_longer_does_not_give_way() {
    let (mut total, now) = full(1);
    assert_eq!(total.acquire(&"none", now + MILLI, true), Place::Wait);
    assert!(!total.gives_way(&"busy", Some(now)));
    assert!(total.gives_way(&"busy", None), "it has nobody of its own");
}

#[test]
fn who_holds_something_starves_nobody_out() {
    let (mut total, now) = full(1);
    assert_eq!(total.acquire(&"has one", now, false), Place::Wait);
    assert_eq!(total.starving(), None);
    assert!(!total.gives_way(&"busy", Some(now + MILLI)));
}

#[test]
fn one_idle_connection_is_reclaimed_for_each_who_waits() {
    let (mut total, now) = full(2);
    assert_eq!(total.acquire(&"a", now, true), Place::Wait);
    assert!(total.is_short());
    total.reclaimed();
    assert!(!total.is_short());
    assert_eq!(total.acquire(&"b", now, true), Place::Wait);
    assert!(total.is_short());
}

#[test]
fn who_gives_way_does_not_get_the_place_back_for_a_waiter_it_has_served() {
    let (mut total, now) = full(1);
    assert_eq!(total.acquire(&"busy", now, false), Place::Wait);
    assert_eq!(total.acquire(&"none", now + MILLI, true), Place::Wait);
    // Its head of then was served by a returned lease; its head of now came last.
    assert!(total.gives_way(&"busy", Some(now + MILLI * 2)));
    assert_eq!(total.release(), Some("none"));
}

#[test]
fn what_was_not_reclaimed_after_all_is_still_short() {
    let (mut total, now) = full(1);
    assert_eq!(total.acquire(&"b", now, true), Place::Wait);
    total.reclaimed();
    assert!(!total.is_short());
    total.not_reclaimed();
    assert!(total.is_short());
}
