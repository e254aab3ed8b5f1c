//! Scripted upstreams, a scripted DNS server, black holes and the contract suite that Tollgate's
//! tests stand on.
//!
//! | module | holds |
//! |---|---|
//! | [`upstream`] | [`Upstream`]: an HTTP/1 server that says and does exactly what a test tells it, over TCP or in memory |
//! | [`plain`] | [`Plain`]: a fast, well-behaved hyper server with a latency, for load |
//! | [`dns`] | [`DnsServer`]: answers, lies and silence over UDP and TCP on one port |
//! | [`hole`] | [`Hole`] drops SYNs; [`Refused`] refuses connections |
//! | [`gate`] | [`Gate`]: a place where code under test stands still until the test says go |
//! | [`io`] | [`Connector`]: a connector that counts, waits, fails or panics, and [`CountedIo`] |
//! | [`contract`] | what every layer owes its callers, as a suite that takes the layer as a closure |
//! | [`deadline`] | [`within`], [`eventually`], and [`hold_clock`] for sockets under a paused clock |
//! | [`skip()`] | what a test says that needs a program which is not there |
//!
//! # Waiting
//!
//! Nothing here needs a sleep to be waited for. Servers and probes have `settled`, which takes a
//! condition on their counters and returns when it holds; gates have [`Gate::reached`]. Both panic
//! after [`DEADLINE`] of *real* time, and say what the counters were; what tokio's clock does
//! meanwhile is no concern of theirs.
//!
//! # Clocks
//!
//! Delays in scripts are in tokio's time, so a paused clock skips them. A paused clock also runs
//! ahead whenever every task waits for a *socket*: tests that mix a paused clock and TCP keep it
//! still with [`hold_clock`], or go through [`Upstream::connect`], which is in memory.

mod board;
pub mod contract;
pub mod deadline;
pub mod dns;
pub mod gate;
pub mod hole;
pub mod io;
pub mod plain;
mod skip;
mod socket;
pub mod upstream;

pub use deadline::{DEADLINE, eventually, hold_clock, within};
pub use dns::DnsServer;
pub use gate::Gate;
pub use hole::{Hole, Refused};
pub use io::{Connector, CountedIo};
pub use plain::Plain;
pub use skip::skip;
pub use upstream::{Reply, Upstream};
