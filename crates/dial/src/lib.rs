//! A Tower connector that dials by Happy Eyeballs (RFC 8305) over any resolver, with socket options, an
//! address policy and errors that name every attempt.
//!
//! # Why, and when not
//!
//! A name has several addresses so that one of them may be dead. A connector that tries one after the
//! other waits for the dead one until the system gives it up, about two minutes on Linux.
//! [`Dial`] starts the next attempt after 250 ms, or 10 ms after the last start if one failed, within
//! a family as between the two, and keeps what connects first.
//!
//! A peer with one address that is always there needs none of this; `HttpConnector` of hyper-util then
//! does the same with fewer options.
//!
//! # Example
//!
//! ```
//! use std::net::SocketAddr;
//! use std::time::Duration;
//!
//! use hyper_util::client::legacy::connect::dns::Name;
//! use tollgate_dial::DialLayer;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # let good = listener.local_addr()?;
//! # let refuses = SocketAddr::from(([127, 0, 0, 1], 1));
//! // In the place of a real resolver, such as hyper-util's `GaiResolver`.
//! let resolver = service_fn(move |_: Name| async move { Ok::<_, std::io::Error>([refuses, good]) });
//! let connector = ServiceBuilder::new()
//!     .layer(DialLayer::new().connect_timeout(Duration::from_secs(3)))
//!     .service(resolver);
//!
//! let stream = connector.oneshot("http://billing.internal".parse()?).await?;
//! assert_eq!(stream.info().remote, Some(good));
//! assert_eq!(stream.info().attempts.len(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! # Where it goes in the stack
//!
//! Over a resolver (any `Service<Name>` whose response is a collection of addresses, so also
//! hyper-util's; the backends of `tollgate-cached-dns`, whose answers have a TTL, go below its cache),
//! below TLS: hyper-rustls' `wrap_connector`, tonic's `connect_with_connector`,
//! hyper-util's legacy client and Tollgate's keep-alive all take it. Below a TLS layer that is not
//! Tollgate's, say [`below_tls`](DialLayer::below_tls): otherwise `https` is refused, since `Dial`
//! would open it in clear text. A name is resolved at each dial: a
//! cache of names belongs below.
//!
//! The result is a [`DialStream`], with a [`DialInfo`](tollgate_core::DialInfo) in its
//! `Connected` extras. While a dial is pending, it reports its phase and attempts through
//! [`tollgate_core::phase`], so that a timeout above knows what it cut off.
//!
//! A `unix_socket("docker", path)` of the [`DialLayer`] leads the URIs of one host to a Unix socket.
//!
//! # The order of addresses
//!
//! 1. Addresses that the [`AddrPolicy`] forbids are left out, literal or resolved.
//! 2. Addresses that failed or were overtaken in an earlier dial of the same host that another address
//!    won go last, for 30 s; then one dial tries them first again. No address is preferred for having
//!    won, so connections spread as the resolver rotates its answers.
//! 3. The families take turns, beginning with that of the first address, which
//!    [`first_family_count`](DialLayer::first_family_count) may give a lead; if IPv6 lost to IPv4 three
//!    times in a row, with IPv4 for 10 minutes.
//! 4. The first 64 of that order are tried.
//!
//! At most six attempts are open; when addresses are left, the oldest one is closed for the next after a
//! second. The first success wins and the others are closed. Errors from
//! `socket` and `bind` count as failed attempts. Where there is no route, the rest of that family goes
//! last; where the family cannot be had at all or the local address cannot be bound, it is skipped;
//! without file descriptors nothing more is started.
//!
//! # Addresses that come late
//!
//! A resolver may answer with one family while the query for the other is still out, and say so through
//! [`tollgate_core::late`]; Tollgate's cache over a hickory does. Then:
//!
//! * IPv4 alone gives IPv6 the [`resolution_delay`](DialLayer::resolution_delay), less the time that the
//!   resolver gave it already; IPv6 alone is dialled at once. What comes within it is one answer with
//!   the first.
//! * What comes later joins the tail of the running race.
//! * When every attempt has failed, the dial waits for what is still out, never past its time limit, and
//!   reports the phase of name resolution meanwhile. It does not wait where nothing more could be
//!   opened, or where what is out cannot be of the one family it may dial.
//!
//! With any other resolver, one answer is all there is, and none of this costs anything.
//!
//! # The time there is
//!
//! A dial shares out its time: its own [`connect_timeout`](DialLayer::connect_timeout), or the budget of a
//! layer above, such as Tollgate's connect timeout, which comes down through [`tollgate_core::phase`].
//! Where that is too short for all addresses at the usual pace, the attempt delay and the resolution delay
//! are cut, so that a budget of 200 ms reaches the second address at 100 ms.
//!
//! A dial may end by failure, by its own time limit, or by being dropped, which is how a budget above ends
//! it. It teaches the same each time: attempts that were open for 1 s, or for seven eighths of a shorter
//! time, count as timed out.
//!
//! # Differences from hyper-util's `HttpConnector`
//!
//! * Attempts are staggered within a family too. There, each family is walked one address at a time, so
//!   a dead first address costs the system's timeout, or its share of `connect_timeout`.
//! * [`connect_timeout`](DialLayer::connect_timeout) is one limit on everything, DNS included. There it
//!   leaves out DNS, is divided by the number of addresses and holds for each family.
//! * `TCP_NODELAY`, TCP keep-alive and user timeout are on; a local address is bound without taking
//!   its port from other destinations.
//! * A failed `bind` of one family does not end the dial.
//! * After a refusal the next attempt waits until 10 ms after the last start (RFC 8305 section 5), there
//!   it does not.
//! * Only `http` is dialled, and `https` for a TLS layer above that asks for it: Tollgate's own does,
//!   for others there is [`below_tls`](DialLayer::below_tls). There, `enforce_http` is on, and off it
//!   lets every scheme through.
//!
//! `examples/dial_table.rs` runs both over the same dead addresses and prints the times.
//!
//! # Choosing the values
//!
//! [`attempt_delay`](DialLayer::attempt_delay): well above a round trip, or every dial opens two
//! sockets; inside one data centre 50 ms will do. [`connect_timeout`](DialLayer::connect_timeout):
//! below 1 s, one lost SYN is an error. In Tollgate's client the connect timeout above, which covers
//! TLS too, is the one to set.
//!
//! For URIs that come from elsewhere, [`AddrPolicy::public_only`] keeps the dial out of the own network.
//!
//! # Backpressure and clones
//!
//! `poll_ready` is the resolver's; attempts are made ready inside the dial. The dial itself has no
//! limit: the number of connections is a pool's. Clones have a clone of the resolver and share what was
//! learned about hosts (of 1,024 hosts at most), nothing else.
//!
//! # Cancel safety
//!
//! The future owns its sockets and its wait for late addresses: dropping it closes and ends them, half
//! open or not, and no task is left behind, for it spawns none. What it learnt until then stays and is
//! reported, as above. A resolver that must not lose work to a cancelled caller has to see to that itself.
//!
//! # Errors
//!
//! [`DialError`]: how it failed ([`DialFailure`]), which kind that is
//! ([`ConnectErrorKind`](tollgate_core::ConnectErrorKind)), host, time, and every attempt. An address
//! that was not reached within the time limit is there as timed out if it had its chance, else as pending.
//!
//! # Metrics
//!
//! None of its own. [`on_outcome`](DialLayer::on_outcome) reports each attempt,
//! [`on_all_failed`](DialLayer::on_all_failed) each dial in which no address worked, `DialInfo` each dial,
//! the error each failure; Tollgate's pool counts dials.

mod attempt;
mod classify;
mod config;
mod dialling;
mod error;
mod future;
mod layer;
mod memory;
mod message;
mod peek;
mod policy;
mod race;
mod racing;
mod resolution_delay;
mod service;
mod socket;
mod stream;
mod target;
mod unix;

pub use attempt::{AttemptError, TcpAttempt, TcpConnecting};
pub use error::{DialError, DialFailure};
pub use future::DialFuture;
pub use layer::DialLayer;
pub use policy::AddrPolicy;
pub use service::Dial;
pub use stream::DialStream;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
