//! A few tasks on one machine, in every order that matters.
//!
//! `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=3 cargo test -p tollgate-admission --release
//! --target-dir target/loom --test loom`
//!
//! A wake-up that is lost shows as loom's "deadlock": nobody is left to run.
#![cfg(loom)]

mod drain;
mod gate;
mod owner;
mod pool;
mod slot;
mod total;
