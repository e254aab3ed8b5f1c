//! Nothing is granted that cannot be served (A13).

use std::task::Poll;
use std::time::Duration;

use tollgate_core::{QueueOrder, RefuseReason};

use super::bench::{Bench, MILLI, SECOND, config, n};
use super::wakes::Wakes;
use crate::{Admission, Demand, Discipline, Gate, GateConfig, Machine, Ticket};

impl Bench {
    /// One connection, leased; an exchange took `held` before.
    fn busy(held: Duration) -> Self {
        let mut bench = Self::new(config(1));
        bench.idle();
        bench.take();
        bench.pool.used(bench.now, held);
        bench
    }

    fn queue_until(&mut self, limit: Duration) -> Ticket {
        let demand = Demand::new().ends_at(Some(self.now + limit));
        match self.demand(demand) {
            Admission::Queued(ticket) => ticket,
            other => panic!("not queued: {other:?}"),
        }
    }

    fn resource(&self) -> crate::ResourceId {
        let info = self.pool.resources().next();
        info.expect("it is open").id
    }

    /// Three callers leave the queue: enough to turn the order.
    fn press(&mut self) {
        for _ in 0..3 {
            let ticket = self.queue();
            self.pool.cancel(ticket, self.now);
        }
    }
}

#[test]
fn a_limit_below_typical_use_is_refused_immediately() {
    let mut bench = Bench::busy(MILLI * 300);
    let short = Demand::new().ends_at(Some(bench.now + MILLI * 299));
    let Admission::Refused(refusal) = bench.demand(short) else {
        panic!("it would be late");
    };
    assert_eq!(
        (refusal.reason, refusal.overdue),
        (RefuseReason::QueueTimeout, false)
    );
    let late = refusal.late.expect("it would be late");
    assert_eq!((late.left, late.typical), (MILLI * 299, MILLI * 300));
    assert_eq!(
        refusal.to_string(),
        "would be late: 299ms left after 0ns, an exchange takes 300ms"
    );
    let totals = bench.pool.stats().totals;
    assert_eq!((totals.late, totals.timed_out), (1, 1));
}

#[test]
fn a_short_limit_is_granted_an_idle_connection() {
    let mut bench = Bench::busy(SECOND);
    let held = bench.resource();
    bench.give_back(held);
    let short = Demand::new().ends_at(Some(bench.now + MILLI));
    assert!(matches!(bench.demand(short), Admission::Granted(_)));
}

#[test]
fn a_short_limit_still_gets_its_own_dial() {
    let mut bench = Bench::busy(SECOND);
    bench.pool.reconfigure(bench.now, config(2));
    bench.queue_until(MILLI * 5);
    assert_eq!(bench.start_all(), 1);
}

#[test]
fn a_waiter_is_refused_when_it_becomes_late() {
    let mut bench = Bench::busy(MILLI * 300);
    let ticket = bench.queue_until(MILLI * 800);
    let (wakes, waker) = Wakes::new();
    assert!(bench.pool.poll(ticket, bench.now, &waker).is_pending());
    let due = bench.pool.deadline(ticket).expect("it has a limit");
    // A typical use, an eighth of it and a millisecond.
    let needs = Duration::from_micros(338_500);
    let last = (MILLI * 800).saturating_sub(needs);
    assert_eq!(due, bench.now + last + Duration::from_nanos(1));
    for (after, woken) in [(last, 0), (MILLI, 1)] {
        bench.advance(after);
        bench.pool.tick(bench.now);
        drop(bench.pool.take_effects());
        assert_eq!(wakes.count(), woken, "just in time, and a moment late");
    }
    assert!(bench.fails(ticket).late.is_some());
}

#[test]
fn shorter_uses_postpone_an_early_refusal() {
    let mut bench = Bench::busy(MILLI * 300);
    let ticket = bench.queue_until(MILLI * 800);
    for _ in 0..16 {
        bench.pool.used(bench.now, MILLI * 100);
    }
    bench.advance(MILLI * 600);
    bench.pool.tick(bench.now);
    assert!(bench.poll(ticket).is_pending());
    let due = bench.pool.deadline(ticket).expect("it has a limit");
    assert!(due > bench.now + MILLI * 86, "and a later deadline");
    let held = bench.resource();
    bench.give_back(held);
    bench.granted(ticket);
}

#[test]
fn a_lease_passes_waiters_that_would_be_late() {
    let mut bench = Bench::busy(MILLI * 100);
    let first = bench.queue_until(MILLI * 250);
    let second = bench.queue_until(MILLI * 800);
    for _ in 0..16 {
        bench.pool.used(bench.now, MILLI * 300);
    }
    let held = bench.resource();
    bench.give_back(held);
    assert!(bench.fails(first).late.is_some());
    bench.granted(second);
}

#[test]
fn estimates_expire_so_no_limit_stays_refused() {
    let mut bench = Bench::busy(SECOND * 2);
    bench.advance(SECOND * 6);
    bench.queue_until(MILLI * 10);
}

#[test]
fn cancellations_turn_the_order_to_newest_first() {
    let mut bench = Bench::busy(MILLI);
    bench.press();
    let tickets: Vec<_> = (0..5).map(|_| bench.queue()).collect();
    let stats = bench.pool.stats();
    assert_eq!((stats.order, stats.totals.turns), (QueueOrder::Newest, 1));
    let held = bench.resource();
    // One in four goes to the oldest, since none was seen to leave at its age.
    bench.advance(MILLI * 100);
    for at in [4, 3, 2, 0, 1] {
        bench.give_back(held);
        bench.granted(tickets[at]);
    }
    assert_eq!(bench.pool.stats().order, QueueOrder::Fifo, "none waits");
}

#[test]
fn the_oldest_share_skips_callers_about_to_cancel() {
    let mut bench = Bench::busy(MILLI * 10);
    for _ in 0..3 {
        let ticket = bench.queue();
        bench.advance(MILLI * 100);
        bench.pool.cancel(ticket, bench.now);
    }
    let about_to_leave = bench.queue();
    bench.advance(MILLI * 95);
    let tickets: Vec<_> = (0..5).map(|_| bench.queue()).collect();
    let held = bench.resource();
    for at in [4, 3, 2, 0] {
        bench.give_back(held);
        bench.granted(tickets[at]);
    }
    assert!(bench.poll(about_to_leave).is_pending());
}

#[test]
fn a_retry_is_first_in_either_order() {
    let mut bench = Bench::busy(MILLI);
    bench.press();
    bench.queue();
    let Admission::Queued(retry) = bench.demand(Demand::new().retry(true)) else {
        panic!("one is the limit");
    };
    bench.queue();
    let held = bench.resource();
    bench.give_back(held);
    bench.granted(retry);
}

#[test]
fn the_order_turns_back_once_no_caller_leaves() {
    let mut bench = Bench::busy(MILLI);
    bench.press();
    let tickets = [bench.queue(), bench.queue()];
    bench.advance(SECOND);
    assert!(bench.pool.next_tick().is_some_and(|at| at <= bench.now));
    bench.pool.tick(bench.now);
    assert_eq!(bench.pool.stats().order, QueueOrder::Fifo);
    let held = bench.resource();
    for ticket in tickets {
        bench.give_back(held);
        bench.granted(ticket);
    }
}

#[test]
fn fifo_by_option_stays_fifo() {
    let mut bench = Bench::new(config(1).discipline(Discipline::Fifo));
    let held = bench.idle();
    bench.take();
    bench.pool.used(bench.now, MILLI);
    bench.press();
    bench.pool.abandoned(bench.now, MILLI * 2, MILLI);
    let tickets = [bench.queue(), bench.queue()];
    for ticket in tickets {
        bench.give_back(held);
        bench.granted(ticket);
    }
    let totals = bench.pool.stats().totals;
    assert_eq!((totals.granted_late, totals.turns), (1, 0));
}

#[test]
fn cancellations_during_a_dial_keep_the_order() {
    let mut bench = Bench::busy(MILLI);
    bench.pool.reconfigure(bench.now, config(9));
    for _ in 0..4 {
        let ticket = bench.queue();
        assert_eq!(bench.start_all(), 1);
        bench.pool.cancel(ticket, bench.now);
        bench.opened();
        bench.take();
    }
    bench.pool.reconfigure(bench.now, config(1));
    bench.queue();
    assert_eq!(bench.pool.stats().order, QueueOrder::Fifo);
}

#[test]
fn abandoned_answers_are_awaited_only_under_pressure() {
    let mut bench = Bench::busy(MILLI * 300);
    assert_eq!(bench.pool.due_within(bench.now, MILLI * 100), None);
    bench.press();
    let due = bench.pool.due_within(bench.now, MILLI * 100);
    assert_eq!(due, Some(MILLI * 500));
    assert_eq!(bench.pool.due_within(bench.now, MILLI * 601), None);
    for _ in 0..16 {
        bench.pool.used(bench.now, SECOND);
    }
    assert_eq!(bench.pool.due_within(bench.now, MILLI), None, "not soon");
}

#[test]
fn a_late_ticket_is_refused_without_a_tick() {
    let mut bench = Bench::busy(MILLI * 300);
    let ticket = bench.queue_until(MILLI * 800);
    bench.advance(MILLI * 501);
    assert!(matches!(bench.poll(ticket), Poll::Ready(Err(refusal)) if refusal.late.is_some()));
}

/// Their length is the patience of their callers: as uses they would refuse what can be served.
#[test]
fn exchanges_cancelled_at_a_gate_are_no_uses() {
    let now = tokio::time::Instant::now();
    let mut gate = Gate::new(GateConfig::new(n(1)));
    for end in [MILLI * 100, SECOND * 2, SECOND * 3, SECOND * 4] {
        let taken = gate.demand(now, Demand::new());
        assert!(matches!(taken, Admission::Granted(_)), "{taken:?}");
        if end < SECOND {
            gate.used(now, end);
        } else {
            gate.abandoned(now, MILLI, end);
        }
        gate.release(now);
    }
    assert!(matches!(
        gate.demand(now, Demand::new()),
        Admission::Granted(_)
    ));
    let soon = Demand::new().ends_at(Some(now + SECOND));
    let answer = gate.demand(now, soon);
    assert!(matches!(answer, Admission::Queued(_)), "{answer:?}");
    assert_eq!(gate.stats().totals.served, 1);
}
