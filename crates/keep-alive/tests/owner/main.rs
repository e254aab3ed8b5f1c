//! The pool's owner: what must follow from each touch of an origin, whoever causes it.

#![allow(clippy::unwrap_used, reason = "a test")]

mod bodies;
mod chains;
mod counts;
mod dialling;
mod draining;
mod durations;
mod elsewhere;
mod idle;
mod kept;
mod protocol;
mod reentrant;
mod retrying;
mod runtimes;
#[path = "../support/mod.rs"]
mod support;
mod total;

use std::num::NonZeroUsize;

fn n(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}
