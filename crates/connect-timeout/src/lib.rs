//! One time budget for making a connection, from DNS to TLS, with an error that names where it went.
//!
//! # Why, and when not
//!
//! A connect can hang in each of its phases: a name server that does not answer, a firewall that
//! drops SYNs, a peer that accepts and then is silent in the TLS handshake. Limits in each part add
//! up to more than anybody meant, and leave the part without one to hang. [`ConnectTimeoutLayer`]
//! puts one budget over all of it and, by option, limits on the phases.
//!
//! It is not a limit on the exchange that follows, nor on waiting for a pooled connection: those
//! begin after, or before, there is a connect. Under reqwest without custom connectors,
//! `ClientBuilder::connect_timeout` has the same reach and less detail.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use tollgate_connect_timeout::{ConnectTimedOut, ConnectTimeoutLayer};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! // A peer that never answers, in the place of a real connector.
//! let black_hole = service_fn(|_: http::Uri| {
//!     std::future::pending::<Result<tokio::net::TcpStream, std::io::Error>>()
//! });
//! let connector = ServiceBuilder::new()
//!     .layer(ConnectTimeoutLayer::new(Duration::from_secs(5)))
//!     .service(black_hole);
//!
//! let uri = http::Uri::from_static("http://192.0.2.1");
//! let error = connector.oneshot(uri).await.unwrap_err();
//! let timed_out = error.downcast_ref::<ConnectTimedOut>().unwrap();
//! assert_eq!(timed_out.elapsed(), Duration::from_secs(5));
//! # }
//! ```
//!
//! # Where it goes in the stack
//!
//! Directly below what pools connections, above TLS: then it covers DNS, TCP and TLS. Below TLS
//! it covers DNS and TCP only. The clock starts at the first poll of the call's future, so neither
//! a wait in `poll_ready` nor a future that was not polled yet uses up any of it.
//!
//! What the protocol exchanges before the connection is of use, such as the HTTP/2 preface,
//! happens above, in the pool. A pool that wants it inside the same budget wraps its polls of the
//! connector in a [`PhaseSlot`](tollgate_core::PhaseSlot) and finds in
//! [`remaining`](tollgate_core::PhaseSlot::remaining) what was left.
//!
//! # Phases
//!
//! Tollgate's dialler and TLS report the phase they are in through
//! [`tollgate_core::phase`]; so can any connector. One that does not has a single phase,
//! [`Phase::Connect`](tollgate_core::Phase::Connect): the budget holds for it as for any other,
//! the limits set with [`dns`](ConnectTimeoutLayer::dns), [`tcp`](ConnectTimeoutLayer::tcp) and
//! [`tls`](ConnectTimeoutLayer::tls) do not come into play. Reports reach the layer from the polls
//! of the connector's own future, not from tasks that it spawns.
//!
//! The budget is not divided evenly among the addresses of a name, as hyper-util's `HttpConnector`
//! divides its own: the pace of attempts is the dialler's (Happy Eyeballs, RFC 8305). But it goes down to
//! the dialler: before each poll the layer states what is left and the limits of the phases
//! ([`phase::left`](tollgate_core::phase::left)), and Tollgate's dialler cuts its delays to it, and its own
//! default time limit gives way to it. So does that of Tollgate's pool above
//! ([`phase::begin_budget`](tollgate_core::phase::begin_budget)). So there is one clock, and it is this
//! one, unless another is asked for.
//!
//! # Differences from tower's `Timeout`
//!
//! * The clock starts at the first poll, not at `call`.
//! * The error names which phase ran out and how each attempt fared, and its source chain ends in
//!   [`io::ErrorKind::TimedOut`](std::io::ErrorKind::TimedOut). Tower's `Elapsed` has no source:
//!   reqwest knows it by its type, others not at all.
//! * Phases can have limits of their own.
//!
//! As with tower's, a ready answer wins a tie with the clock.
//!
//! # Choosing the value
//!
//! Linux sends a lost SYN again after 1 s and then after 2 s more, or since 6.5 every second at first
//! (`tcp_syn_linear_timeouts`): a budget below 1 s makes an error of every lost packet, and one of
//! 5 s outlives two, or four. Tollgate's client has 5 s. What a
//! caller can wait is the other bound: a budget above the caller's own deadline never strikes.
//!
//! # Backpressure and clones
//!
//! `poll_ready` is the connector's. A clone has a clone of the connector and nothing else.
//!
//! # Cancel safety
//!
//! Dropping the future drops the connector's future and the timer; nothing is spawned and nothing
//! stays behind. When the time is up, the connector's future goes with this one, so the sockets of
//! attempts that it owns are closed.
//!
//! # Errors
//!
//! [`ConnectTimedOut`] in a [`BoxError`](tollgate_core::BoxError). The connector's own errors pass
//! through unwrapped: `error.is::<std::io::Error>()` still finds one.
//!
//! # Metrics
//!
//! None of its own. A pool above reports the failed connect, with
//! [`ConnectErrorKind::Timeout`](tollgate_core::ConnectErrorKind::Timeout).

mod future;
mod layer;
mod service;

pub use future::ConnectTimeoutFuture;
pub use layer::ConnectTimeoutLayer;
pub use service::ConnectTimeout;
pub use tollgate_core::ConnectTimedOut;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
