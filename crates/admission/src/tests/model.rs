//! Random sequences of every input, with every promise checked after each step.
//!
//! Each step is an input: what cannot be done at the moment is a demand instead. `cargo test` runs a
//! few hundred sequences; `PROPTEST_CASES=20000 cargo test -p tollgate-admission
//! --release --lib model` is the full run: 5 s.

mod coverage;
mod gate;
mod pool;
mod pool_checks;
mod pool_opens;
mod pool_outside;
mod pool_steps;
mod total;
mod total_protocol;

use std::collections::BTreeMap;

use proptest::prelude::*;
use tokio::time::Instant;

use crate::Ticket;

/// The inputs that a machine was given, and how often.
#[derive(Clone, Debug, Default)]
struct Inputs(BTreeMap<&'static str, u64>);

impl Inputs {
    fn note(&mut self, input: &'static str) {
        *self.0.entry(input).or_default() += 1;
    }

    fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

/// Puts a ticket that had its turn before at the head of a line, behind those of its kind that arrived
/// before it. `returned_at` is the arrival of such a ticket.
fn stand_at_the_head(
    line: &mut Vec<Ticket>,
    ticket: Ticket,
    returned_at: impl Fn(&Ticket) -> Option<Instant>,
) {
    line.retain(|each| *each != ticket);
    let arrived = returned_at(&ticket);
    let earlier = |each: &&Ticket| returned_at(each).is_some_and(|at| Some(at) <= arrived);
    let place = line.iter().take_while(earlier).count();
    line.insert(place, ticket);
}

/// An input and two numbers to choose its arguments by.
#[derive(Clone, Copy, Debug)]
struct Step {
    kind: u8,
    a: u16,
    b: u16,
}

impl Step {
    /// One of `n` by the first number.
    fn pick(self, n: usize) -> Option<usize> {
        (n > 0).then(|| usize::from(self.a) % n)
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (any::<u8>(), any::<u16>(), any::<u16>());
    let step = step.prop_map(|(kind, a, b)| Step { kind, a, b });
    prop::collection::vec(step, 100..140)
}
