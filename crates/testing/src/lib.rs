//! Scripted upstreams, a scripted DNS server, black holes and the contract suite that Tollgate's
//! tests stand on.
//!
//! | module | holds |
//! |---|---|
//! | [`upstream`] | [`Upstream`]: an HTTP/1 server that says and does exactly what a test tells it, over TCP or in memory |
//! | [`gate`] | [`Gate`]: a place where code under test stands still until the test says go |
//! | [`deadline`] | [`within`], and [`hold_clock`] for sockets under a paused clock |
//!
//! # Waiting
//!
//! Nothing here needs a sleep to be waited for. Servers and probes have `settled`, which takes a
//! condition on their counters and returns when it holds; gates have [`Gate::reached`]. Both panic
//! after [`DEADLINE`] of *real* time, and say what the counters were. A paused clock stands still
//! while they wait, so a test may `advance` the clock and then wait for its effect on a socket.
//!
//! # Clocks
//!
//! Delays in scripts are in tokio's time, so a paused clock skips them. A paused clock also runs
//! ahead whenever every task waits for a *socket*: tests that mix a paused clock and TCP keep it
//! still with [`hold_clock`], or go through [`Upstream::connect`], which is in memory.

mod board;
pub mod deadline;
pub mod gate;
mod socket;
pub mod upstream;

pub use deadline::{DEADLINE, hold_clock, within};
pub use gate::Gate;
pub use upstream::{Reply, Upstream};
