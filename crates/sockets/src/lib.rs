//! The kernel's view of outbound connections: sockets per destination and TCP state, local ports left,
//! descriptors left.
//!
//! # Why, and when not
//!
//! A client that opens a connection for each request runs out of local ports: each takes one of
//! 28,232 per destination, and holds it in `TIME_WAIT` for a minute after its close. What a pool
//! counts does not show it, since the connections are closed, and since other processes of the same
//! network namespace take ports too. The kernel knows, and this crate asks it, as `ss` does, without
//! privileges and in milliseconds:
//!
//! * [`Sockets`], every TCP socket with its state; [`Destination`], those to one address with the local
//!   ports that it has left;
//! * [`Ports`] and [`Files`], the settings and limits that they run into;
//! * `SocketMetrics`, gauges of all of it per origin (feature `metrics`).
//!
//! It is for Linux. Elsewhere it compiles, and every reading fails with
//! [`SocketsErrorKind::Unsupported`]. Limits that are not this machine's, such as those of a NAT
//! gateway or of `nf_conntrack`, are not visible from here.
//!
//! # Example
//!
//! ```
//! use tollgate_sockets::{Files, Ports, Sockets, TcpState};
//!
//! # fn main() -> Result<(), tollgate_sockets::SocketsError> {
//! # if !cfg!(target_os = "linux") { return Ok(()) }
//! let ports = Ports::read()?;
//! for destination in Sockets::read()?.destinations(&ports).iter().take(10) {
//!     println!(
//!         "{}: {} in TIME_WAIT, {} of {} local ports taken",
//!         destination.remote,
//!         destination.sockets.of(TcpState::TimeWait),
//!         destination.ports_taken,
//!         destination.ports,
//!     );
//! }
//! println!("{:.0} % of the descriptors are left", Files::read()?.headroom() * 100.0);
//! # Ok(()) }
//! ```
//!
//! # Where it goes in the stack
//!
//! Beside it. `SocketMetrics` is an observer of a pool, which it asks for the addresses of its
//! origins; the facade's feature `sockets` puts a row per address into its `snapshot()`.
//!
//! # Differences from `ss` and from `node_exporter`
//!
//! The numbers are those of `ss -tan`: a test holds the two equal. What is added is the sum that
//! matters: the ports that one destination has left, and which origin that destination is.
//! `node_exporter` counts the sockets of a machine, in which one full destination does not show.
//!
//! # Choosing the values
//!
//! Two thresholds matter. Below [`SLOW_PORTS`], half, the kernel has used up the ports that it tries
//! first, and each `connect` walks through all of them: milliseconds of the processor's time in the
//! place of 20 µs. At 0, `connect` fails with EADDRNOTAVAIL. With the default range, half is reached
//! at 235 new connections a second to one address, all of it at 470. The alert
//! `TollgateLocalPortsRunOut` of `tollgate-queue-metrics` fires at the first one.
//!
//! # Backpressure and clones
//!
//! None: readings are plain values.
//!
//! # Cancel safety
//!
//! Readings are synchronous. With the feature `metrics`, `SocketMetrics::spawn` runs them on threads for blocking work.
//!
//! # Errors
//!
//! [`SocketsError`], whose source is the system's. Where `sock_diag` is refused, as in some sandboxes,
//! `/proc/net/tcp` is read in its place, and the [`Source`] is that.
//!
//! # Cost
//!
//! A reading walks the kernel's whole table. `cargo run --release -p tollgate-sockets --example
//! twenty_thousand` makes 20,000 sockets in a network namespace of its own and fails if a reading of
//! them takes 20 ms; the README has its numbers.
//!
//! # Metrics
//!
//! With the feature `metrics`. `server_address` and `server_port` are an origin's, as in
//! `tollgate-queue-metrics`; [`names`] has the same table as constants.
//!
//! | name | kind | unit | labels | moves when |
//! |---|---|---|---|---|
//! | `http_client_sockets` | gauge | 1 | `server_address`, `server_port`, `state` | the kernel's table does |
//! | `http_client_port_headroom_ratio` | gauge | 1 | `server_address`, `server_port` | a local port to the origin's fullest address is taken, falls free |
//! | `http_client_sockets_closed_total` | counter | 1 | `server_address`, `server_port`, `side` | a connection of the observed pool is closed: `local`, `peer` |
//! | `process_fd_headroom_ratio` | gauge | 1 |  | a descriptor is opened, closed |
//!
//! `state` is one of `established`, `syn_sent`, `fin_wait1`, `fin_wait2`, `time_wait`, `close_wait`,
//! `last_ack` and `closing`. All of them are as old as the last report.
//!
//! # Features
//!
//! | feature | default | |
//! |---|---|---|
//! | `metrics` | no | `SocketMetrics` |
//! | `serde` | no | `Serialize` for readings |

mod destination;
mod error;
mod files;
#[cfg(feature = "metrics")]
mod known;
#[cfg(feature = "metrics")]
mod metrics;
pub mod names;
mod ports;
#[cfg(target_os = "linux")]
mod proc_net;
#[cfg(target_os = "linux")]
mod sock_diag;
mod state;
mod table;

#[cfg(feature = "metrics")]
pub use crate::metrics::{SocketMetrics, SocketReporter};
pub use destination::{Counts, Destination};
pub use error::{SocketsError, SocketsErrorKind};
pub use files::Files;
pub use ports::{Ports, TwReuse};
pub use state::{ClosedFirst, TcpState};
pub use table::{Socket, Sockets, Source};

/// The headroom of a destination below which `connect` gets slow.
///
/// The kernel looks for a free port among every second one of the range first, the odd or the even
/// ones; once those are taken each `connect` has tried them all before it goes on to the others.
pub const SLOW_PORTS: f64 = 0.5;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
