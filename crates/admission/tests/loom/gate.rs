//! A gate: grants, cancellations, abandoned reservations.

use std::future::poll_fn;
use std::num::NonZeroUsize;

use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;
use tokio::time::Instant;
use tollgate_admission::{Admission, Demand, Gate, GateConfig, Locked, Ticket};

fn gate(now: Instant) -> Arc<Locked<Gate>> {
    let gate = Arc::new(Locked::new(Gate::new(GateConfig::new(NonZeroUsize::MIN))));
    let (admission, _) = gate.with(|gate| gate.demand(now, Demand::new()));
    assert!(matches!(admission, Admission::Granted(_)));
    gate
}

fn queue_at_gate(gate: &Locked<Gate>, now: Instant) -> Ticket {
    match gate.with(|gate| gate.demand(now, Demand::new())).0 {
        Admission::Queued(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

/// Waits as a task does: asleep until it is woken.
fn wait_at_gate(gate: &Locked<Gate>, ticket: Ticket, now: Instant) {
    let granted = block_on(poll_fn(|cx| {
        gate.with(|gate| gate.poll(ticket, now, cx.waker())).0
    }));
    granted.expect("it has no deadline that passes");
}

#[test]
fn a_place_released_during_cancel_is_handed_on() {
    loom::model(|| {
        let now = Instant::now();
        let gate = gate(now);
        let first = queue_at_gate(&gate, now);
        let second = queue_at_gate(&gate, now);
        let leaving = thread::spawn({
            let gate = gate.clone();
            move || drop(gate.with(|gate| gate.cancel(first, now)).1)
        });
        let releasing = thread::spawn({
            let gate = gate.clone();
            move || drop(gate.with(|gate| gate.release(now)).1)
        });
        wait_at_gate(&gate, second, now);
        leaving.join().expect("no panic");
        releasing.join().expect("no panic");
        let stats = gate.read(Gate::stats);
        assert_eq!((stats.in_flight, stats.unanswered), (1, 0));
    });
}

#[test]
fn a_cancelled_reservation_reaches_a_racing_newcomer() {
    loom::model(|| {
        let now = Instant::now();
        let gate = gate(now);
        let first = queue_at_gate(&gate, now);
        drop(gate.with(|gate| gate.release(now)).1);
        let leaving = thread::spawn({
            let gate = gate.clone();
            move || drop(gate.with(|gate| gate.cancel(first, now)).1)
        });
        let (admission, effects) = gate.with(|gate| gate.demand(now, Demand::new()));
        drop(effects);
        if let Admission::Queued(ticket) = admission {
            wait_at_gate(&gate, ticket, now);
        }
        leaving.join().expect("no panic");
        let stats = gate.read(Gate::stats);
        assert_eq!((stats.in_flight, stats.unanswered), (1, 0));
    });
}
