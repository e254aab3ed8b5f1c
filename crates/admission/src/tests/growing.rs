//! A failed open fails nothing that could be served (A14), and churn has a price.

use tollgate_core::{CloseReason, RefuseReason};

use super::bench::{Bench, MILLI, SECOND, config};
use crate::{ResourceId, Returned, Ticket};

impl Bench {
    /// Each connection serves those that wait, one after the other, until none does.
    fn serve(&mut self, mut tickets: Vec<Ticket>, open: &[ResourceId]) {
        let held = |bench: &Self, id| bench.pool.resource(id).is_some_and(|info| info.leases > 0);
        while !tickets.is_empty() {
            let before = tickets.len();
            tickets.retain(|ticket| !self.poll(*ticket).is_ready());
            assert!(tickets.len() < before, "{} are never served", tickets.len());
            for &id in open {
                if held(self, id) {
                    self.give_back(id);
                }
            }
            assert_eq!(self.start_all(), 0, "and nothing more is opened");
        }
    }
}

#[test]
fn a_peer_limit_of_two_serves_forty_waiters() {
    let mut bench = Bench::new(config(64));
    let tickets: Vec<_> = (0..40).map(|_| bench.queue()).collect();
    assert_eq!(bench.start_all(), 16);
    let open = [bench.opened(), bench.opened()];
    while bench.pool.stats().connecting > 0 {
        bench.pool.open_failed(bench.now, "refused");
        bench.start_all();
    }
    let opens = bench.pool.stats().opens;
    assert!(opens <= 24, "{opens}: those on their way are tries enough");
    let stats = bench.pool.stats();
    assert_eq!((stats.limit, stats.peer_limit), (64, Some(2)));
    assert_eq!(stats.totals.failed, 0);
    bench.serve(tickets, &open);
}

#[test]
fn port_exhaustion_lets_nine_connections_serve_sixty_waiters() {
    let mut bench = Bench::new(config(64));
    let tickets: Vec<_> = (0..60).map(|_| bench.queue()).collect();
    assert_eq!(bench.start_all(), 16);
    for _ in 0..7 {
        bench.pool.open_blocked(bench.now, "no port");
        assert_eq!(bench.start_all(), 0, "opening pauses");
    }
    let open: Vec<_> = (0..9).map(|_| bench.opened()).collect();
    let stats = bench.pool.stats();
    assert_eq!((stats.totals.failed, stats.peer_limit), (0, None));
    // An open succeeded, so a port may be there again: one try for each time it is not.
    for _ in 0..bench.start_all() {
        bench.pool.open_blocked(bench.now, "no port");
    }
    bench.serve(tickets, &open);
}

#[test]
fn a_wait_for_ports_ends_with_their_error() {
    let mut bench = Bench::new(config(4).acquire_timeout(SECOND));
    let ticket = bench.queue();
    for pause in [50, 100, 200, 400] {
        assert_eq!(bench.start_all(), 1);
        bench.pool.open_blocked(bench.now, "no port");
        assert_eq!(bench.start_all(), 0);
        assert!(
            bench
                .pool
                .next_tick()
                .is_some_and(|at| at <= bench.now + MILLI * pause)
        );
        bench.advance(MILLI * pause);
    }
    bench.advance(MILLI * 250);
    let refusal = bench.fails(ticket);
    assert_eq!(
        (refusal.reason, refusal.error),
        (RefuseReason::Connect, Some("no port"))
    );
}

#[test]
fn failed_opens_fail_no_waiter_while_others_run() {
    let mut bench = Bench::new(config(16));
    let tickets: Vec<_> = (0..16).map(|_| bench.queue()).collect();
    assert_eq!(bench.start_all(), 16);
    bench.queue();
    for _ in 0..15 {
        bench.pool.open_failed(bench.now, "timed out");
        assert_eq!(bench.start_all(), 0, "those on their way are tries enough");
    }
    assert!(
        tickets
            .iter()
            .all(|ticket| bench.poll(*ticket).is_pending())
    );
    bench.pool.open_failed(bench.now, "timed out");
    for ticket in tickets {
        assert_eq!(bench.fails(ticket).reason, RefuseReason::Connect);
    }
    assert_eq!(bench.pool.stats().opens, 16, "A7: not in series");
}

/// A pool that has learnt that its peer allows one connection, with that one leased.
fn limited() -> (Bench, ResourceId) {
    let mut bench = Bench::new(config(8));
    let held = bench.idle();
    bench.take();
    let ticket = bench.queue();
    for _ in 0..3 {
        assert!(bench.pool.start_open(bench.now));
        bench.pool.open_failed(bench.now, "refused");
    }
    bench.pool.cancel(ticket, bench.now);
    assert_eq!(bench.pool.stats().peer_limit, Some(1));
    (bench, held)
}

#[test]
fn a_peers_ceiling_is_probed_now_and_then() {
    let (mut bench, _) = limited();
    for pause in [1, 2, 4, 8, 16, 30, 30] {
        bench.pool.tick(bench.now);
        assert!(
            bench
                .pool
                .next_tick()
                .is_some_and(|at| at <= bench.now + SECOND * pause)
        );
        bench.advance(MILLI * (1_000 * pause - 1));
        let ticket = bench.queue();
        assert_eq!(bench.start_all(), 0);
        bench.advance(MILLI);
        assert_eq!(bench.start_all(), 1, "one probe");
        bench.pool.open_failed(bench.now, "refused");
        assert!(bench.poll(ticket).is_pending(), "A14: it fails nothing");
        bench.pool.cancel(ticket, bench.now);
    }
}

#[test]
fn below_its_ceiling_a_lost_connection_is_replaced() {
    let mut bench = Bench::new(config(8));
    let open = [bench.idle(), bench.idle()];
    bench.take();
    bench.take();
    bench.queue();
    for _ in 0..3 {
        assert!(bench.pool.start_open(bench.now));
        bench.pool.open_failed(bench.now, "refused");
    }
    assert_eq!(bench.pool.stats().peer_limit, Some(2));
    assert_eq!(bench.start_all(), 0, "there is no probe yet");
    bench.give_back(open[0]);
    bench.gone(open[0]);
    bench.queue();
    assert_eq!(bench.start_all(), 1, "A14: as many as the peer allows");
}

#[test]
fn a_probe_that_serves_lifts_the_ceiling() {
    let (mut bench, _) = limited();
    bench.advance(SECOND);
    let waiting = [bench.queue(), bench.queue()];
    assert_eq!(bench.start_all(), 1);
    let probe = bench.opened();
    bench.granted(waiting[0]);
    assert_eq!(bench.start_all(), 0, "it has not served yet");
    bench.give_back(probe);
    assert_eq!(bench.pool.stats().peer_limit, None);
}

#[test]
fn a_ceiling_never_bars_the_only_connection() {
    let (mut bench, held) = limited();
    bench.queue();
    assert_eq!(bench.start_all(), 0);
    bench.gone(held);
    assert_eq!(bench.start_all(), 1);
}

#[test]
fn connections_closed_before_they_served_count_as_refused() {
    let mut bench = Bench::new(config(8));
    let held = bench.idle();
    bench.take();
    bench.give_back(held);
    bench.take();
    for _ in 0..3 {
        let ticket = bench.queue();
        assert_eq!(bench.start_all(), 1);
        let stillborn = bench.opened();
        bench.granted(ticket);
        bench.gone(stillborn);
    }
    bench.queue();
    assert_eq!(bench.start_all(), 0, "it waits for the one that serves");
    assert_eq!(bench.pool.stats().peer_limit, Some(1));
}

#[test]
fn cancelled_connections_are_replaced_within_a_budget() {
    let mut bench = Bench::new(config(4));
    let cancelled = Returned::Retire(CloseReason::Cancelled);
    let mut opened = 0;
    for _ in 0..100 {
        let ticket = bench.queue();
        if bench.start_all() == 1 {
            opened += 1;
            let id = bench.opened();
            bench.granted(ticket);
            bench.pool.lease_returned(id, bench.now, cancelled);
            bench.gone(id);
        } else {
            assert!(bench.pool.next_tick().is_some(), "the wait has an end");
            bench.pool.cancel(ticket, bench.now);
        }
        bench.advance(MILLI * 10);
    }
    assert!(
        (8..=10).contains(&opened),
        "{opened} in a second: four, and four a second"
    );
}

#[test]
fn an_answer_is_awaited_when_cancellations_cost_much() {
    let mut bench = Bench::new(config(4));
    bench.pool.used(bench.now, MILLI * 100);
    assert_eq!(bench.pool.due_within(bench.now, MILLI), None);
    for _ in 0..3 {
        let id = bench.idle();
        bench.take();
        let cancelled = Returned::Retire(CloseReason::Cancelled);
        bench.pool.lease_returned(id, bench.now, cancelled);
        bench.gone(id);
    }
    assert_eq!(bench.pool.due_within(bench.now, MILLI), Some(MILLI * 199));
}
