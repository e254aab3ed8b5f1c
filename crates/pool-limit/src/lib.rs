//! A limit on the requests in flight to each origin, held to the end of the response body, with a
//! fair, bounded and timed queue before it.
//!
//! # Why, and when not
//!
//! hyper-util's legacy client, reqwest and a tonic channel own their connections out of sight and
//! put no bound on them: a thousand requests at once are a thousand connections at once, or a
//! thousand streams. [`PoolLimitLayer`] bounds the requests instead. What is over the limit waits in
//! turn, for a limited time, in a queue that can be seen, and gets the reason when it is refused.
//!
//! It bounds requests, not sockets: after a cancelled request its place is free at once, and the
//! client closes the connection a little later, so for a moment there can be a few sockets more.
//! Where the limit on sockets must be exact, it belongs to the pool (Tollgate's keep-alive). Over
//! such a pool this layer is a bulkhead, and with the same number in both the queue is this one.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use tollgate_pool_limit::PoolLimitLayer;
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tollgate_core::BoxError> {
//! // Here a client would be: the legacy client, a `reqwest::Client`, a tonic channel.
//! let client = service_fn(|_: http::Request<String>| async {
//!     Ok::<_, std::io::Error>(http::Response::new("paid".to_owned()))
//! });
//! let client = PoolLimitLayer::per_origin(64)?
//!     .max_waiting(256)
//!     .acquire_timeout(Duration::from_secs(1))
//!     .layer(client);
//! let limits = client.handle();
//!
//! let request = http::Request::get("http://billing.internal/invoices/7").body(String::new())?;
//! let response = client.oneshot(request).await?;
//! assert_eq!(limits.total().in_flight, 1); // the body is not read yet
//! drop(response);
//! assert_eq!(limits.total().in_flight, 0);
//! # Ok(())
//! # }
//! ```
//!
//! # Where it goes in the stack
//!
//! Directly above the client. Layers above it (tracing, a timeout for the whole call) then see the
//! wait as part of the request; a retry above gives its place back between attempts, and waits
//! again. The wait covers nothing but the queue: from the first poll of the call until a place is
//! free. While the service below makes itself ready, the place is held.
//!
//! Under `reqwest`, with the feature of that name, `reqwest::Client` is the service:
//! `PoolLimitLayer::per_origin(64)?.layer(reqwest::Client::new())`.
//!
//! # What shares a limit
//!
//! | constructor | requests with a limit of their own |
//! |---|---|
//! | [`per_origin`](PoolLimitLayer::per_origin) | those to one scheme, host and port; all that do not say where they go, as those of tonic's generated clients |
//! | [`per_key`](PoolLimitLayer::per_key) | those of which your function makes the same key |
//! | [`whole_service`](PoolLimitLayer::whole_service) | all |
//!
//! Each service that a layer makes has limits of its own; its clones share them. A key that no request
//! uses is forgotten, so memory is bounded by the keys in use; the totals keep what it counted.
//!
//! # Differences from tower's `ConcurrencyLimit`
//!
//! * The place is held to the end of the response body. Tower gives it back at the head, so that
//!   fifty streaming bodies are open under a limit of two;
//!   [`release_at_head`](PoolLimitLayer::release_at_head) does the same.
//! * It waits in the call, so a clone that is ready holds nothing. Tower reserves in `poll_ready`,
//!   and an idle clone can keep a place from everybody else;
//!   [`reserve_in_poll_ready`](PoolLimitLayer::reserve_in_poll_ready) does the same, but for
//!   `LoadShed` keeps no place where it refuses.
//! * There is a limit for each origin, a bound on the queue and a deadline for each wait, and the
//!   limit can be changed while it runs ([`PoolLimitHandle`]).
//!
//! # Choosing the value
//!
//! By Little's law the requests in flight are the rate times the latency: at 400 requests a second
//! of 50 ms each there are 20. Take the latency to the end of the body, at the peak, and leave room
//! for bursts; a limit far above what the peer can serve at once only moves the queue into the peer.
//! [`GateStats::totals`] tells how many had to wait and how long they did.
//!
//! # Backpressure and clones
//!
//! Always ready; the queue is in the calls, and its bound is
//! [`max_waiting`](PoolLimitLayer::max_waiting). A layer above that acts on readiness (`LoadShed`,
//! `Balance`, `Buffer`) sees nothing of it: see [`ReservingPoolLimitLayer`] for those.
//!
//! Order is first come, first served, by the first poll of the call. A newcomer never overtakes one
//! that waits, and each place that falls free wakes the one caller that it is for.
//!
//! Once callers leave in numbers the order is newest first, but for one place in four
//! ([`Discipline`]): a place that goes to a caller about to give up costs the peer an exchange and the
//! client below a connection, and serves nothing. A request that carries [`Limits`] (or reqwest's own
//! timeout) is refused as soon as they leave less than a typical exchange takes. The limits are only
//! read here; a layer below or above keeps them.
//!
//! # Cancel safety
//!
//! A call can be dropped at any time. One that was never polled has asked for nothing; one that
//! waits is cancelled; one to which a place was just handed passes it on to the next; one in
//! flight drops the service's own future and then gives its place back. So does a body. A panic of
//! the service does the same, and one of an observer changes nothing.
//!
//! # Errors
//!
//! | error | when | sent? |
//! |---|---|---|
//! | [`PoolLimitError`] of kind `QueueFull` | as many wait as may | no |
//! | … of kind `QueueTimeout` | no place within the acquire timeout, or too late for the request's own limit; its source is an `io::Error` of kind `TimedOut` | no |
//! | … of kind `Closed` | the limit was closed through its handle | no |
//! | [`ZeroLimit`] | a limit of 0, at construction | |
//!
//! They come in a [`BoxError`](tollgate_core::BoxError), found with `downcast_ref`. The service's
//! own errors pass through unwrapped.
//!
//! # Metrics
//!
//! [`PoolLimitHandle`] has gauges and counters for each key and in all ([`GateStats`]). An
//! [`Observer`](tollgate_core::Observer) given to [`PoolLimitLayer::observer`] hears `Queued`,
//! `Granted`, `Refused`, `Released` and `OrderChanged` as they happen, outside any lock; without one nothing is
//! spent on events. A `Granted` here is always `reused`: the layer sees no connections.

mod body;
mod common;
mod error;
mod future;
mod handle;
mod keys;
mod layer;
mod limiter;
mod release;
mod reserving;
mod service;
mod slot;
mod waiter;

pub use body::PoolLimitBody;
pub use common::UNKNOWN_ORIGIN;
pub use error::{PoolLimitError, PoolLimitErrorKind, StillInFlight, ZeroLimit};
pub use future::{PoolLimitFuture, ReservedFuture};
pub use handle::PoolLimitHandle;
pub use keys::{Keyed, LimitBy, PerKey, PerOrigin, WholeService};
pub use layer::PoolLimitLayer;
pub use release::{BodyEnd, Head, PermitUntil};
pub use reserving::{ReservingPoolLimit, ReservingPoolLimitLayer};
pub use service::PoolLimit;
pub use tollgate_admission::{Discipline, GateStats, Late, Totals};
pub use tollgate_core::{Deadline, Limits};
pub use waiter::PoolLimitPermit;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
