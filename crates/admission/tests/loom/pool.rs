//! A pool: returns, closes, opens, cancellations.

use std::sync::atomic::Ordering;

use loom::thread;
use tollgate_admission::{Pool, Returned};
use tollgate_core::CloseReason;

use crate::owner::Owner;

#[test]
fn a_return_racing_a_close_strands_no_waiter() {
    loom::model(|| {
        let owner = Owner::new(1);
        let held = owner.lease();
        let ticket = owner.ask().expect_err("one is the limit");
        let ending = thread::spawn({
            let owner = owner.clone();
            move || owner.gone(held, CloseReason::PeerEof)
        });
        let returning = thread::spawn({
            let owner = owner.clone();
            move || owner.give_back(held, Returned::reusable())
        });
        let resource = owner.wait(ticket).expect("it has no deadline that passes");
        ending.join().expect("no panic");
        returning.join().expect("no panic");
        // It got the old connection before that ended, or a new one after.
        let stats = owner.pool.read(Pool::stats);
        assert_eq!((stats.queued, stats.unanswered), (0, 0));
        let there = owner.pool.read(|pool| pool.resource(resource).is_some());
        assert_eq!(stats.in_flight, usize::from(there));
        assert_eq!(
            owner.most.load(Ordering::SeqCst),
            1,
            "A1, counted in sockets"
        );
    });
}

#[test]
fn a_cancel_racing_its_open_loses_nothing() {
    loom::model(|| {
        let owner = Owner::new(1);
        let first = owner.ask().expect_err("nothing is open");
        let second = owner.ask().expect_err("nothing is open");
        let opening = thread::spawn({
            let owner = owner.clone();
            move || owner.open_what_is_wanted()
        });
        let leaving = thread::spawn({
            let owner = owner.clone();
            move || {
                owner.with(|pool| pool.cancel(first, owner.now));
                owner.open_what_is_wanted();
            }
        });
        assert!(owner.wait(second).is_some());
        opening.join().expect("no panic");
        leaving.join().expect("no panic");
        let stats = owner.pool.read(Pool::stats);
        assert_eq!((stats.open, stats.in_flight, stats.unanswered), (1, 1, 0));
        assert_eq!(
            stats.opens, 1,
            "A3: what the first caused served the second"
        );
    });
}
