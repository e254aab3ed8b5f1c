//! The state machines behind Tollgate's limits, without sockets, tasks or a clock.
//!
//! * [`Gate`] limits what is in flight: a counter with a queue before it.
//! * [`Pool`] is one origin's connection pool: the cap, the idle connections and the queue in one
//!   machine, so that no event can reach one of them and not the others.
//! * [`Total`] limits the connections of many pools together.
//! * [`Locked`] puts one of the first two behind a mutex and keeps wakes, closes and foreign drops
//!   out of it.
//! * [`Slot`] keeps a lease whose caller is done before its connection is.
//!
//! # Why, and when not
//!
//! An application wants one of the layers built on this: `tollgate-pool-limit` or
//! `tollgate-keep-alive`. This crate is for writing another: a pool of database connections, a
//! limiter for another protocol.
//!
//! # Example
//!
//! ```
//! use std::num::NonZeroUsize;
//! use std::task::{Context, Poll, Waker};
//! use tokio::time::Instant;
//! use tollgate_admission::{Admission, Demand, Pool, PoolConfig, Returned};
//!
//! let now = Instant::now();
//! let config = PoolConfig::default().max_connections_per_origin(NonZeroUsize::MIN);
//! let mut pool: Pool<String> = Pool::new(config);
//!
//! // Nothing is open, so the request waits, and the pool wants a connection.
//! let Admission::Queued(ticket) = pool.demand(now, Demand::new()) else { panic!() };
//! assert!(pool.start_open(now));
//!
//! // The dial succeeds: the connection goes to who waits, and a second request queues behind.
//! let connection = pool.opened(now, NonZeroUsize::MIN);
//! let Poll::Ready(Ok(grant)) = pool.poll(ticket, now, Waker::noop()) else { panic!() };
//! assert_eq!(grant.resource, connection);
//! let Admission::Queued(second) = pool.demand(now, Demand::new()) else { panic!() };
//! assert!(!pool.wants_open(now), "one is the limit");
//!
//! // The lease comes back and is handed on.
//! pool.lease_returned(connection, now, Returned::reusable());
//! assert!(matches!(pool.poll(second, now, Waker::noop()), Poll::Ready(Ok(grant)) if grant.reused));
//! ```
//!
//! # Who does what
//!
//! The machines decide and the owner acts. Each call takes the time, changes a few fields and may
//! leave [`Effects`] behind: tasks to wake and connections to close. The owner takes them out under
//! its lock and [runs](Effects::run) them after it. It asks [`Pool::wants_open`] after any call
//! that may have left demand unmet, starts as many opens as [`Pool::start_open`] agrees to, and
//! reports how each ended.
//!
//! # Promises
//!
//! The numbers stand beside the code and the tests that keep them.
//!
//! * **A1** Open, opening and closing connections never exceed the limit; a place is free again
//!   when the owner reports that the socket is gone. Only connections of many leases that drain may
//!   live beside their replacement, up to [`PoolConfig::max_draining`].
//! * **A2** An open is started only while fewer are in progress than there is unmet demand.
//! * **A3** An open belongs to the pool: cancelling the request behind it neither ends nor wastes
//!   it.
//! * **A4** First come, first served: a newcomer never takes a lease past one who waits. Only a
//!   retry goes to the head of the queue. A13 has the exception.
//! * **A5** Handing over is a reservation. If the receiver is gone the lease goes to the next, or
//!   idles.
//! * **A6** The queue is bounded and every wait has a deadline, but while an open of one's own is in
//!   progress, which has its own.
//! * **A7** A failed open fails one waiter, the head. After three in a row with nothing open, all
//!   who wait fail and the pool backs off, then tries with one probe. Requests with time left wait for
//!   it meanwhile, up to `max_waiting`, and fail with it. A14 has the exception.
//! * **A8** Under a limit over all pools an idle connection is closed only when somebody waits for
//!   its place, and no origin starves.
//! * **A9** Idle connections are reused last in, first out; timeouts and lifetimes are kept at
//!   [`Pool::tick`] and checked at every hand-over.
//! * **A10** The counters add up after every call.
//! * **A11** [`Pool::is_empty`] is true when a pool may be forgotten.
//! * **A12** Zero is never "unlimited".
//! * **A13** Nothing is granted that cannot be served. A request whose limit ([`Demand::ends_at`])
//!   is shorter than a typical use is refused instead of granted. Once callers leave in numbers
//!   the order is newest first, one grant in four to the oldest, and callers that by all that was
//!   seen are about to leave are passed over; a second without one turns it back
//!   ([`Discipline`]). No less goodput than first come, first served.
//! * **A14** While anything is open or being opened a failed open fails none. What the peer lets be
//!   open is learnt and probed ([`PoolStats::peer_limit`]). A want of ports or descriptors
//!   ([`Pool::open_blocked`]) fails none either: it pauses opening. Connections that cancelled
//!   exchanges cost are replaced within a budget, an answer due soon is worth waiting for instead
//!   ([`Pool::due_within`]), and retries have a budget too ([`Pool::take_retry`]).
//!
//! # Cancel safety
//!
//! Nothing here is a future. A [`Ticket`] is a number, and whoever holds it must either poll it to
//! its end or cancel it; a future does the latter in its `Drop`.
//!
//! # Costs
//!
//! A demand that finds an idle connection, and the return of its lease without waiters, touch a
//! few fields and allocate nothing. Queueing, granting, cancelling and refusing are `O(1)` but for
//! one heap of deadlines, `O(log n)` in the number of waiters. A `tick` that is due looks at each
//! connection.

mod deadlines;
mod effects;
mod gate;
mod jitter;
mod list;
mod locked;
mod outcome;
mod pool;
mod queue;
mod slab;
mod slot;
mod stats;
mod sync;
#[cfg(test)]
mod tests;
mod total;

use std::time::Duration;

pub use effects::Effects;
pub use gate::{Gate, GateConfig, Granted};
pub use locked::{Locked, Machine};
pub use outcome::{Admission, Demand, Departure, Late, Refusal, Ticket};
pub use pool::{
    BackOff, Gone, Grant, Pool, PoolConfig, ResourceId, ResourceInfo, ResourceState, Returned,
};
pub use queue::{Discipline, RESERVED_FOR};
pub use slot::Slot;
pub use stats::{GateStats, PoolStats, Totals};
pub use total::{Acquire, Total};

/// As many as Envoy lets wait for a cluster (`max_pending_requests`).
const DEFAULT_MAX_WAITING: usize = 1_024;
/// As long as linkerd's proxy waits before it fails fast.
const DEFAULT_ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
