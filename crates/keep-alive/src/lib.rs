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
//! # Cancel safety
//!
//! Dropping a call that waits leaves the queue, at once and from anywhere in it. A connection that was
//! handed to it goes on to the next. A dial it caused goes on and serves others. Dropping it once the
//! request is on its way closes that one connection, since HTTP/1 has no other way to stop; dropping a
//! response body early closes it too, unless the rest of the body is already there.
//!
//! # Errors
//!
//! [`KeepAliveError`], by [`KeepAliveErrorKind`]. What was never written is started again up to three
//! times, whatever its method; an idempotent request without a body is sent once more if a *reused*
//! connection ended without a byte of answer; see [`RetryPolicy`]. [`NoRetry`] in a request's extensions
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

mod admin;
mod body;
mod config;
mod conn;
mod connections;
mod deadline;
mod dial;
mod driver;
mod erased;
mod error;
mod exchange;
mod future;
mod guarded;
mod hint;
mod http2;
mod io;
mod layer;
mod lease;
mod leave;
mod maintenance;
mod no_retry;
mod origin_options;
mod origin_pool;
mod origin_service;
mod origins;
mod owner;
mod progress;
mod protocol;
mod request;
mod sender;
mod service;
mod shared;
mod spans;
mod stats;
mod streams;
mod total;
mod upload;
mod waiting;
mod waits;

pub use body::KeepAliveBody;
pub use config::RetryPolicy;
pub use connections::{ConnectionState, ConnectionStats, OriginDetail};
pub use deadline::Deadline;
pub use dial::OpenTimedOut;
pub use error::{KeepAliveError, KeepAliveErrorKind};
pub use future::KeepAliveFuture;
pub use layer::KeepAliveLayer;
pub use no_retry::NoRetry;
pub use origin_options::KeepAliveOriginOptions;
pub use origin_service::KeepAliveOrigin;
pub use protocol::{Http2Options, Protocol};
pub use service::KeepAlive;
pub use stats::{OriginStats, Snapshot};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
