//! Places of a gate, and leases of a pool, that are reserved and not collected.

use std::num::NonZeroUsize;
use std::task::{Poll, Waker};

use tokio::time::Instant;

use super::bench::{Bench, MILLI, config};
use crate::{Admission, Demand, Gate, GateConfig, Granted, Refusal, Ticket};

/// A gate with one place, which is taken.
fn taken_gate(now: Instant) -> Gate {
    let mut gate = Gate::new(GateConfig::new(NonZeroUsize::MIN));
    let taken = gate.demand(now, Demand::new());
    assert!(matches!(taken, Admission::Granted(_)));
    gate
}

fn queue(gate: &mut Gate, now: Instant) -> Ticket {
    let Admission::Queued(ticket) = gate.demand(now, Demand::new()) else {
        panic!("the one place is taken");
    };
    assert!(poll(gate, ticket, now).is_pending());
    ticket
}

fn poll(
    gate: &mut Gate,
    ticket: Ticket,
    now: Instant,
) -> Poll<Result<Granted, Refusal<std::convert::Infallible>>> {
    gate.poll(ticket, now, Waker::noop())
}

#[test]
fn a_lapsed_place_passes_to_a_polling_waiter() {
    let now = Instant::now();
    let mut gate = taken_gate(now);
    let (asleep, awake) = (queue(&mut gate, now), queue(&mut gate, now));
    gate.release(now);
    let later = now + MILLI * 300;
    assert!(matches!(poll(&mut gate, awake, later), Poll::Ready(Ok(_))));
    assert!(poll(&mut gate, asleep, later).is_pending(), "taken again");
    gate.release(later);
    assert!(matches!(poll(&mut gate, asleep, later), Poll::Ready(Ok(_))));
}

#[test]
fn a_lapsed_waiter_takes_a_free_place() {
    let now = Instant::now();
    let mut gate = taken_gate(now);
    let asleep = queue(&mut gate, now);
    gate.release(now);
    let later = now + MILLI * 300;
    gate.tick(later);
    assert_eq!(gate.stats().in_flight, 0, "no other waits for it");
    assert!(matches!(poll(&mut gate, asleep, later), Poll::Ready(Ok(_))));
}

#[test]
fn overdue_waiters_keep_no_newcomer_out() {
    let now = Instant::now();
    let config = GateConfig::new(NonZeroUsize::MIN).max_waiting(1);
    let mut gate = taken_gate(now);
    gate.reconfigure(now, config.acquire_timeout(MILLI));
    let overdue = queue(&mut gate, now);
    let newcomer = gate.demand(now + MILLI, Demand::new());
    assert!(matches!(newcomer, Admission::Queued(_)));
    assert!(matches!(
        poll(&mut gate, overdue, now + MILLI),
        Poll::Ready(Err(_))
    ));
}

/// It stayed reserved for ever, and with it its connection.
#[test]
fn a_reservation_lapses_while_its_pool_drains() {
    let mut bench = Bench::new(config(1));
    let resource = bench.idle();
    bench.take();
    let _asleep = bench.queue();
    bench.give_back(resource);
    bench.pool.drain(bench.now);
    assert_eq!(bench.pool.stats().in_flight, 1);
    let due = bench.pool.next_tick().expect("it lapses");
    bench.advance(due - bench.now);
    bench.pool.tick(bench.now);
    assert_eq!(bench.pool.stats().in_flight, 0);
}
