//! A connector that counts, waits, fails or panics, and the connections it makes.
//!
//! [`Connector`] is a `Service<Uri>` as hyper-util's client and Tollgate's pool take it. It connects
//! every URI to one upstream, in memory (which lives under a paused clock) or over TCP, and a script
//! scripts each dial. What it made is counted by a guard inside the connection, so
//! [`Stats::live`] is the number of IO objects that the code under test really holds.
//!
//! ```
//! # use tollgate_testing::{Connector, Gate, Upstream, io::Plan};
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let upstream = Upstream::builder().start().await;
//! let gate = Gate::new();
//! let first = gate.clone();
//! // The first dial waits for the test, the second fails, all others connect.
//! let connector = Connector::memory(&upstream).script(move |dial| match dial.nth {
//!     0 => Plan::connect().when(&first),
//!     1 => Plan::fail(std::io::ErrorKind::ConnectionRefused),
//!     _ => Plan::connect(),
//! });
//! let probe = connector.clone(); // shares the counters
//!
//! // … connector goes into the client under test; then:
//! # drop(connector);
//! gate.open();
//! probe.settled(|stats| stats.live == 0 && stats.dialling == 0).await;
//! assert_eq!(probe.stats().calls, 0);
//! # }
//! ```

mod connecting;
mod connector;
mod counted;
mod counting;
mod plan;
#[cfg(test)]
mod tests;

pub use connecting::Connecting;
pub use connector::Connector;
pub use counted::{CountedIo, Stats, Stream};
pub use counting::{Counter, Counting};
pub use plan::{Dial, Plan};
