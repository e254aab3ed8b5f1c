//! Ending a pool beside everything that can happen in one.

use std::sync::atomic::Ordering;

use loom::thread;
use tollgate_admission::{Pool, ResourceId, ResourceState, Returned, Ticket};
use tollgate_core::CloseReason;

use crate::owner::Owner;

/// Drains the pool beside `other`; afterwards nothing may be live, waiting or leased for ever.
fn drain_beside(
    prepare: impl Fn(&Owner) -> (Option<ResourceId>, Option<Ticket>) + Send + Sync + 'static,
    other: impl Fn(&Owner, Option<ResourceId>, Option<Ticket>) + Send + Sync + Copy + 'static,
) {
    loom::model(move || {
        let owner = Owner::new(1);
        let (held, ticket) = prepare(&owner);
        let racing = thread::spawn({
            let owner = owner.clone();
            move || other(&owner, held, ticket)
        });
        owner.with(|pool| pool.drain(owner.now));
        racing.join().expect("no panic");
        let (live, stats) = owner.pool.read(|pool| {
            let live = |each: ResourceState| each == ResourceState::Live;
            let live = pool.resources().any(|each| live(each.state));
            (live, pool.stats())
        });
        assert!(!live, "nothing is kept");
        assert_eq!((stats.queued, stats.idle), (0, 0));
    });
}

#[test]
fn draining_races_a_return() {
    drain_beside(
        |owner| (Some(owner.lease()), None),
        |owner, held, _| {
            owner.give_back(held.expect("held"), Returned::reusable());
            assert_eq!(owner.pool.read(Pool::stats).in_flight, 0);
        },
    );
}

#[test]
fn draining_races_a_waiter() {
    drain_beside(
        |owner| (Some(owner.lease()), owner.ask().err()),
        |owner, held, ticket| {
            owner.give_back(held.expect("held"), Returned::reusable());
            // Granted or refused, but not left to wait.
            if let Some(resource) = owner.wait(ticket.expect("queued")) {
                owner.give_back(resource, Returned::reusable());
            }
        },
    );
}

#[test]
fn draining_races_an_open() {
    drain_beside(
        |owner| (None, owner.ask().err()),
        |owner, _, ticket| {
            owner.open_what_is_wanted();
            if let Some(resource) = owner.wait(ticket.expect("queued")) {
                owner.give_back(resource, Returned::reusable());
            }
            assert_eq!(owner.pool.read(Pool::stats).connecting, 0);
        },
    );
}

#[test]
fn draining_races_a_cancelled_reservation() {
    drain_beside(
        |owner| {
            let held = owner.lease();
            let ticket = owner.ask().expect_err("one is the limit");
            owner.give_back(held, Returned::reusable());
            (None, Some(ticket))
        },
        |owner, _, ticket| {
            owner.with(|pool| pool.cancel(ticket.expect("queued"), owner.now));
        },
    );
}

#[test]
fn draining_races_a_connection_that_ends() {
    drain_beside(
        |owner| {
            let held = owner.lease();
            owner.give_back(held, Returned::reusable());
            (Some(held), None)
        },
        |owner, held, _| {
            // The peer closes as the pool does.
            owner.gone(held.expect("open"), CloseReason::PeerEof);
            assert_eq!(owner.sockets.load(Ordering::SeqCst), 0);
        },
    );
}

#[test]
fn draining_races_a_waiter_that_leaves() {
    drain_beside(
        |owner| (Some(owner.lease()), owner.ask().err()),
        |owner, held, ticket| {
            owner.with(|pool| pool.cancel(ticket.expect("queued"), owner.now));
            owner.give_back(held.expect("held"), Returned::reusable());
            let stats = owner.pool.read(Pool::stats);
            assert_eq!((stats.unanswered, stats.in_flight), (0, 0));
        },
    );
}

#[test]
fn draining_races_a_reclaim_for_another_origin() {
    drain_beside(
        |owner| {
            let held = owner.lease();
            owner.give_back(held, Returned::reusable());
            (None, None)
        },
        |owner, _, _| {
            // Closed by one or the other, and once.
            owner.with(Pool::reclaim_oldest_idle);
            assert!(owner.sockets.load(Ordering::SeqCst) <= 1);
        },
    );
}
