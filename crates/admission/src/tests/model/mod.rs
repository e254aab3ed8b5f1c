//! Random sequences of every input, with every promise checked after each step.
//!
//! `cargo test` runs a few hundred; `PROPTEST_CASES=20000 cargo test -p tollgate-admission
//! --release --lib model` is the full run.

mod gate;
mod pool;
mod pool_steps;
mod total;

use proptest::prelude::*;

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
