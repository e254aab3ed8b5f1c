//! An HTTP client's world, for tests: an in-memory connector into any service, upstreams with faults
//! by name, a scripted DNS server.
//!
//! # Example
//!
//! An upstream that breaks its first response off in the middle:
//!
//! ```
//! use tollgate_testing::{Connector, Reply, Upstream};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let upstream = Upstream::start(|request| match request.connection {
//!     0 => Reply::ok(vec![b'x'; 1024]).reset_at(512),
//!     _ => Reply::ok("whole"),
//! })
//! .await;
//! let client = tollgate::Client::builder().connector(Connector::memory(&upstream)).build()?;
//! let body = client.get("http://any.name/").await?.into_body();
//! assert!(body.collect_within(2048).await.is_err());
//! let body = client.get("http://any.name/").await?.into_body();
//! assert_eq!(body.collect_within(2048).await?, "whole");
//! # Ok(()) }
//! ```
//!
//! [`InMemory`] leads into a service of yours, such as an axum router, without a script.
//!
//! # Modules
//!
//! | module | holds |
//! |---|---|
//! | [`memory`] | [`InMemory`]: a connector into any http service of this process |
//! | [`http2`] | `Http2Upstream`: GOAWAY and `RST_STREAM` by name |
//! | [`upstream`] | [`Upstream`]: an HTTP/1 server that follows a test's script to the byte, over TCP or in memory |
//! | [`plain`] | [`Plain`]: a fast, well-behaved hyper server with a latency, for load |
//! | `dns` | `DnsServer`: answers, lies and silence over UDP and TCP on one port (feature `dns`, on by default) |
//! | [`listener`] | [`Listener`]: an accept loop that hands each connection to a closure |
//! | `tls` | an authority, its certificates and a TLS server (feature `tls`) |
//! | [`held`] | [`HeldPort`]: a port that stays the test's while nothing listens on it |
//! | [`hole`] | [`Hole`] drops SYNs; [`Refused`] refuses connections |
//! | [`gate`] | [`Gate`]: a place where code under test waits until the test opens it |
//! | [`io`] | [`Connector`]: a connector that counts, waits, fails or panics, and [`CountedIo`] |
//! | `contract` | what every layer owes its callers, as a suite that takes the layer as a closure (feature `contract`) |
//! | [`recorder`] | [`Recorder`]: an observer that records what a test picks of each event |
//! | [`deadline`] | [`within`], [`eventually`], and [`hold_clock`] for sockets under a paused clock |
//! | [`namespace`] | a test in network and mount namespaces of its own, with ports and settings to itself |
//! | [`skip()`] | the notice of a test that needs a program which is not installed |
//!
//! # Waiting
//!
//! Nothing here needs a sleep to be waited for. Servers and probes have `settled`, which takes a
//! condition on their counters and returns when it holds; gates have [`Gate::reached`]. Both panic
//! after [`DEADLINE`] of *real* time, and print the counters; what tokio's clock does
//! meanwhile is no concern of theirs.
//!
//! # Clocks
//!
//! Delays in scripts are in tokio's time, so a paused clock skips them. A paused clock also runs
//! ahead whenever every task waits for a *socket*: tests that mix a paused clock and TCP keep it
//! still with [`hold_clock`], or go through [`Upstream::connect`], which is in memory.

mod board;
#[cfg(feature = "contract")]
pub mod contract;
pub mod deadline;
#[cfg(feature = "dns")]
pub mod dns;
pub mod gate;
pub mod held;
pub mod hole;
pub mod http2;
pub mod io;
pub mod listener;
pub mod memory;
pub mod namespace;
pub mod plain;
pub mod recorder;
mod skip;
mod socket;
#[cfg(feature = "tls")]
pub mod tls;
pub mod upstream;

pub use deadline::{DEADLINE, eventually, hold_clock, within};
#[cfg(feature = "dns")]
pub use dns::DnsServer;
pub use gate::Gate;
pub use held::HeldPort;
pub use hole::{Hole, Refused};
pub use http2::Http2Upstream;
pub use io::{Connector, CountedIo};
pub use listener::Listener;
pub use memory::InMemory;
pub use plain::Plain;
pub use recorder::{Recorded, Recorder};
pub use skip::skip;
pub use upstream::{Reply, Upstream};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
