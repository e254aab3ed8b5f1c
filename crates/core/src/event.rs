//! What happens, as it happens.

use std::error::Error;
use std::time::Duration;

use crate::dial_info::DialInfo;
use crate::origin::Origin;
use crate::reason::{CloseReason, ConnectErrorKind, RefuseReason};

/// Something happened in a pool, a resolver or a dial.
///
/// Every request that a pool takes up ends in exactly one of `Granted` and `Refused`, with at most
/// one `Queued` before it, and every `Granted` in one `Released`; every `ConnectStarted` ends in one
/// of `Opened` and `ConnectFailed`; every `Opened` in one `Closed`. A change tells what it was before,
/// so that those of several origins add up.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A request waits for a lease, with `ahead` others before it.
    Queued {
        /// Where it is going.
        origin: &'a Origin,
        /// How many waited before it.
        ahead: usize,
    },
    /// A request got a lease.
    Granted {
        /// Where it is going.
        origin: &'a Origin,
        /// How long it waited, a dial of its own included: zero if and only if it was never `Queued`.
        /// A wait too short for the clock counts as a nanosecond.
        waited: Duration,
        /// Whether the connection had served before.
        reused: bool,
    },
    /// A request got no lease.
    Refused {
        /// Where it was going.
        origin: &'a Origin,
        /// Why.
        reason: RefuseReason,
        /// How long it waited, as in `Granted`: a dial of its own is included, also if the caller
        /// went away meanwhile, and it is zero if and only if it was never `Queued`.
        waited: Duration,
    },
    /// A lease ended: both bodies are over, or the caller went away.
    Released {
        /// The origin of the request.
        origin: &'a Origin,
        /// From grant to release.
        held: Duration,
    },
    /// A request is started again, on another connection.
    Retried {
        /// The origin of the request.
        origin: &'a Origin,
        /// Which attempt this is, counted from 1: a first retry is 2.
        attempt: u32,
    },
    /// A dial begins.
    ConnectStarted {
        /// Where to.
        origin: &'a Origin,
    },
    /// A dial succeeded.
    Opened {
        /// Where to.
        origin: &'a Origin,
        /// The pool's number of the connection, counted from 1.
        connection: u64,
        /// What the dial went through, as far as the connector says.
        dial: &'a DialInfo,
        /// From the start of the dial to the usable connection.
        elapsed: Duration,
    },
    /// A dial failed.
    ConnectFailed {
        /// Where to.
        origin: &'a Origin,
        /// What went wrong, as a closed list.
        kind: ConnectErrorKind,
        /// What went wrong, in full.
        error: &'a (dyn Error + Send + Sync + 'static),
        /// How long it took to fail.
        elapsed: Duration,
    },
    /// A connection was closed.
    Closed {
        /// Where it led.
        origin: &'a Origin,
        /// The pool's number of the connection.
        connection: u64,
        /// Why.
        reason: CloseReason,
        /// How long it lived.
        age: Duration,
        /// How many requests it carried.
        served: u64,
    },
    /// The cap on the connections of an origin is another one.
    LimitChanged {
        /// Whose.
        origin: &'a Origin,
        /// What it was; 0 for an origin that the pool meets.
        from: usize,
        /// What it is; 0 for an origin that the pool forgets.
        to: usize,
    },
    /// Another number of connections take no more requests, finish those they have, and live beside
    /// their replacement meanwhile. Only such as carry several requests at once do.
    DrainingChanged {
        /// Whose.
        origin: &'a Origin,
        /// How many there were.
        from: usize,
        /// How many there are.
        to: usize,
    },
    /// The connections that carry several requests at once, as HTTP/2's do, can carry another number
    /// of them, all together. Those that drain carry no more, and a connection that carries one at a
    /// time is not among them.
    StreamsChanged {
        /// Whose.
        origin: &'a Origin,
        /// How many it was.
        from: usize,
        /// How many it is.
        to: usize,
    },
    /// A resolver was really asked (the cache could not answer, or refreshed itself).
    DnsLookup {
        /// The name.
        name: &'a str,
        /// How long the resolver took.
        elapsed: Duration,
        /// `None` if it answered; else a word for what went wrong, such as `not_found`.
        error: Option<&'static str>,
    },
    /// A DNS cache was asked.
    DnsCache {
        /// The name.
        name: &'a str,
        /// `hit`, `stale`, `miss` or `negative`.
        result: &'static str,
    },
}

/// Sees every [`Event`] of the layers it was given to.
///
/// Called synchronously at the transition, never under a lock of Tollgate's, on whatever task the
/// transition happens on: it must be quick and must not block. A panic in it is the panic of the
/// call that it watched, and leaves no lease behind.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
/// use tollgate_core::{Event, Observer};
///
/// #[derive(Default)]
/// struct Opened(AtomicU64);
///
/// impl Observer for Opened {
///     fn on_event(&self, event: &Event<'_>) {
///         if let Event::Opened { .. } = event {
///             self.0.fetch_add(1, Relaxed);
///         }
///     }
/// }
/// ```
pub trait Observer: Send + Sync + 'static {
    /// Something happened.
    fn on_event(&self, event: &Event<'_>);
}

impl<O: Observer + ?Sized> Observer for std::sync::Arc<O> {
    fn on_event(&self, event: &Event<'_>) {
        (**self).on_event(event);
    }
}

/// Both see every event, the first one first.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn on_event(&self, event: &Event<'_>) {
        self.0.on_event(event);
        self.1.on_event(event);
    }
}

/// Sees nothing.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct NoObserver;

impl Observer for NoObserver {
    fn on_event(&self, _: &Event<'_>) {}
}
