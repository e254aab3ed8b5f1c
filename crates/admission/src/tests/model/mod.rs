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
