//! A Tower layer that turns a connector into a keep-alive connection pool with a cap per origin, a
//! fair queue and no ghost connects.
//!
//! # Why, and when not
//!
//! A client without a cap opens a connection for every request that finds none idle: under load that is
//! a storm of dials, and an upstream that was slow is down. This pool opens as many as it may, lets the
//! others wait in the order in which they came, for a bounded time, and says how many wait.
//!
//! It speaks HTTP/1.1, and HTTP/2 where the connector has agreed on it. Under reqwest, hyper-util's
//! legacy client or a tonic channel it has no place: they own their connections;
//! `tollgate-pool-limit` limits their requests.
//!
//! # Example
//!
//! ```
//! use std::num::NonZeroUsize;
//!
//! use bytes::Bytes;
//! use http_body_util::{BodyExt, Empty};
//! use hyper_util::client::legacy::connect::HttpConnector;
//! use tollgate_keep_alive::KeepAliveLayer;
//! use tower::{Layer, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! # let upstream = tollgate_testing::Upstream::start(|_| tollgate_testing::Reply::ok("hello")).await;
//! # let uri = upstream.uri("/");
//! let pool = KeepAliveLayer::new()
//!     .max_connections_per_origin(NonZeroUsize::new(64).expect("not zero"))
//!     .layer(HttpConnector::new()); // or tollgate-dial
//!
//! let request = http::Request::get(uri).body(Empty::<Bytes>::new())?;
//! let response = pool.clone().oneshot(request).await?;
//! assert!(!response.body().timings().reused);
//! assert_eq!(response.into_body().collect().await?.to_bytes(), "hello");
//! # Ok(())
//! # }
//! ```
//!
//! # Where it goes in the stack
//!
//! Above connectors (TLS, a connect timeout, dial), below everything that speaks of requests. Its wait is
//! the time from the call to a lease on a connection; a layer above that measures time measures that too.
//!
//! Requests to `https` go only on a connection that states its encryption, as those of Tollgate's TLS
//! layer do; over another TLS layer goes an [`AssumeTls`].
//!
//! # Differences from tower's `ConcurrencyLimit` and hyper-util's pool
//!
//! * hyper-util's legacy client: a cap, a queue, statistics; a dial belongs to the pool, so a caller
//!   that leaves neither kills nor wastes it; a connection handed to a caller that is gone goes to the
//!   next one.
//! * tower's `ConcurrencyLimit`: what is limited are sockets, and a place is free when the socket is
//!   gone, not when a response head has come.
//!
//! # Choosing the value
//!
//! [`KeepAliveLayer`]'s options say what each is for, its default and where that is from. The one to
//! think about is the cap: requests a second × seconds each takes is the mean in use; a burst needs
//! more (for 5: 12, for 20: 32, for 100: 125).
//!
//! # Backpressure and clones
//!
//! [`KeepAlive`] is always ready: its queue is in the call, so one busy origin does not hold up another.
//! Clones share the pool. [`KeepAlive::origin`] gives a service for one origin that reserves a
//! connection in `poll_ready`, for `LoadShed`, `Balance` and `Buffer` above it.
//!
//! # Stale connections
//!
//! Before a connection is used again that has been quiet for 10 µs or more, the kernel is asked whether its peer
//! has closed it or has sent what no request asked for, if the connector puts a
//! [`SocketPeek`](tollgate_core::SocketPeek) into its [`Connected`] extras. `tollgate-dial` does, below TLS too.
//! Over any other connector, or where the connection is no socket, only the reactor is asked, which may be behind
//! if its thread was blocked. What arrives after the request was sent cannot be seen by either.
//!
//! [`Connected`]: hyper_util::client::legacy::connect::Connected
//!
//! # Cancel safety
//!
//! Dropping a call that waits leaves the queue, at once and from anywhere in it. A connection that was
//! handed to it goes on to the next. A dial it caused goes on and serves others. Dropping it once the
//! request is on its way closes that one connection, since HTTP/1 has no other way to stop; dropping a
//! response body early closes it too, unless the rest of the body is already there. While callers leave
//! in numbers, an answer that is due soon is taken in and dropped instead, for a second at most.
//!
//! # Errors
//!
//! [`KeepAliveError`], by [`KeepAliveErrorKind`], with the connector's error or hyper's in its chain of
//! sources. A dial that took too long has a [`ConnectTimedOut`](tollgate_core::ConnectTimedOut) there,
//! whether a `ConnectTimeoutLayer` below or the pool's own
//! [`connect_timeout`](OriginOptions::connect_timeout) ended it.
//!
//! What was never written is started again up to three
//! times, whatever its method; an idempotent request without a body is sent again if a *reused*
//! connection ended without a byte of answer; see [`RetryPolicy`]. Retries of what met a fresh connection are
//! within a budget, a fifth of the requests and ten a second. [`NoRetry`] in a request's extensions
//! turns both off for that request.
//!
//! # Metrics
//!
//! [`KeepAlive::stats`] and [`KeepAlive::snapshot`] read [`OriginStats`]; an
//! [`Observer`](tollgate_core::Observer) sees every transition, outside all locks.
//!
//! To a `tracing` subscriber that wants `tollgate::request` at debug, each attempt is a span
//! `attempt`, a child of the caller's, from the demand to the response's head, with `origin`, `method`,
//! `attempt`, `queued`, `connection`, `reused`, `remote`, `dns`, `connect`, `tls`, `first_byte`,
//! `status`, `outcome` (answered, failed, refused, cancelled) and `error`: never a path, a query or a
//! header. Dials and connections run in nobody's span.

mod call;
mod connection;
mod dial;
mod error;
mod face;
mod options;
mod pool;
mod seen;

pub use call::body::KeepAliveBody;
pub use call::body_error::KeepAliveBodyError;
pub use dial::connector::Connector;
pub use dial::{AssumeTls, AssumeTlsFuture, AssumeTlsStream};
pub use error::{KeepAliveError, KeepAliveErrorKind};
pub use face::future::KeepAliveFuture;
pub use face::layer::KeepAliveLayer;
pub use face::origin_service::KeepAliveOrigin;
pub use face::service::KeepAlive;
pub use options::http1::Http1Options;
pub use options::invalid::InvalidOption;
pub use options::no_retry::NoRetry;
pub use options::origin_options::OriginOptions;
pub use options::protocol::{Http2Options, Protocol};
pub use options::retry::RetryPolicy;
pub use pool::hosts::HostsInUse;
pub use pool::total::TotalLimit;
pub use seen::detail::{ConnectionState, ConnectionStats, OriginDetail};
pub use seen::stats::{OriginStats, Snapshot};
pub use tollgate_admission::Discipline;
pub use tollgate_core::{Deadline, Limits};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
