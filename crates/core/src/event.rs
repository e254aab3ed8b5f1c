//! What happens, as it happens.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use http::{Method, StatusCode, Version};

use crate::dial_info::DialInfo;
use crate::origin::Origin;
use crate::reason::{CloseReason, ConnectErrorKind, ExchangeEnd, QueueOrder, RefuseReason};

/// Something happened in a pool, a resolver or a dial.
///
/// Every request that a pool takes up ends in exactly one of `Granted` and `Refused`, with at most
/// one `Queued` before it, and every `Granted` in one `Released`; every `ConnectStarted` ends in one
/// of `Opened` and `ConnectFailed`; every `Opened` in one `Closed`. A change carries what it was before,
/// so that those of several origins add up.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A request waits for a lease, with `ahead` others before it.
    Queued {
        /// The origin it goes to.
        origin: &'a Origin,
        /// The number of requests that waited before it.
        ahead: usize,
    },
    /// A request got a lease.
    Granted {
        /// The origin it goes to.
        origin: &'a Origin,
        /// The time that it waited, a dial of its own included: zero if and only if it was never
        /// `Queued`. A wait too short for the clock counts as a nanosecond.
        waited: Duration,
        /// The part of it in which a dial of its own was in progress; for the rest it waited for
        /// capacity, which other requests had.
        dial: Duration,
        /// True if the connection had served before.
        reused: bool,
    },
    /// A request got no lease.
    Refused {
        /// The origin it was for.
        origin: &'a Origin,
        /// Why.
        reason: RefuseReason,
        /// The time that it waited, as in `Granted`: a dial of its own is included, also if the
        /// caller went away meanwhile, and it is zero if and only if it was never `Queued`.
        waited: Duration,
        /// The part of it in which a dial of its own was in progress.
        dial: Duration,
    },
    /// A lease ended: both bodies are over, or the caller went away.
    Released {
        /// The origin of the request.
        origin: &'a Origin,
        /// From grant to release.
        held: Duration,
        /// How far the exchange came: only a whole one shows how fast the origin is.
        end: ExchangeEnd,
    },
    /// A call through a client ended, after all of its attempts: with a response head, with an error
    /// before one, or because its caller went away. A pool alone has no calls, and reports none.
    CallEnded {
        /// The origin of the request.
        origin: &'a Origin,
        /// The request's method.
        method: &'a Method,
        /// The head, if one came.
        answer: Option<(StatusCode, Version)>,
        /// A word of a closed list for the error in its place; `cancelled` if the caller went away.
        error: Option<&'static str>,
        /// From the call to its end: waits, dials and retries are included, the response body is not.
        elapsed: Duration,
    },
    /// Both bodies of a call through a client have ended: sent or read to their end, broken off, or
    /// dropped. Reported only to an observer that [`observes_bodies`](Observer::observes_bodies), behind
    /// the call's `CallEnded`.
    BodiesEnded {
        /// The origin of the request.
        origin: &'a Origin,
        /// The request's method.
        method: &'a Method,
        /// The head, if one came.
        answer: Option<(StatusCode, Version)>,
        /// As in `CallEnded`; or the word for an error that broke the response body off. `None` for a
        /// body that its caller dropped.
        error: Option<&'static str>,
        /// The bytes of the request body that were taken from it to be sent, as they are encoded, without
        /// the framing of HTTP. More may be in here than the peer got, if the call failed.
        sent: u64,
        /// The bytes of the response body that were read, as they are encoded, without the framing of
        /// HTTP; `None` without a head.
        received: Option<u64>,
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
        /// The origin that is dialled.
        origin: &'a Origin,
    },
    /// A dial succeeded.
    Opened {
        /// The origin that is dialled.
        origin: &'a Origin,
        /// The pool's number of the connection, counted from 1.
        connection: u64,
        /// The course of the dial, as far as the connector reports it.
        dial: &'a DialInfo,
        /// From the start of the dial to the usable connection.
        elapsed: Duration,
    },
    /// A dial failed.
    ConnectFailed {
        /// The origin that is dialled.
        origin: &'a Origin,
        /// The failure, by a closed list.
        kind: ConnectErrorKind,
        /// The failure, in full.
        error: &'a (dyn Error + Send + Sync + 'static),
        /// The time that it took to fail.
        elapsed: Duration,
    },
    /// A connection was closed.
    Closed {
        /// The origin it led to.
        origin: &'a Origin,
        /// The pool's number of the connection.
        connection: u64,
        /// Why.
        reason: CloseReason,
        /// The time that it lived.
        age: Duration,
        /// The number of requests it carried.
        served: u64,
    },
    /// The cap on the connections of an origin is another one.
    LimitChanged {
        /// Whose.
        origin: &'a Origin,
        /// The limit before; 0 for an origin that the pool meets.
        from: usize,
        /// The limit now; 0 for an origin that the pool forgets.
        to: usize,
    },
    /// Another number of connections take no more requests, finish those they have, and live beside
    /// their replacement meanwhile. Only such as carry several requests at once do.
    DrainingChanged {
        /// Whose.
        origin: &'a Origin,
        /// The number before.
        from: usize,
        /// The number now.
        to: usize,
    },
    /// The connections that carry several requests at once, as HTTP/2's do, can carry another number
    /// of them, all together. Those that drain carry no more, and a connection that carries one at a
    /// time is not among them.
    StreamsChanged {
        /// Whose.
        origin: &'a Origin,
        /// The number before.
        from: usize,
        /// The number now.
        to: usize,
    },
    /// Another number of those that wait have a dial of their own in progress; the others wait for
    /// capacity.
    DiallingChanged {
        /// Whose.
        origin: &'a Origin,
        /// The number before.
        from: usize,
        /// The number now.
        to: usize,
    },
    /// Those that wait are served in another order.
    OrderChanged {
        /// Whose.
        origin: &'a Origin,
        /// The order before; first in, first out for an origin that the pool meets or forgets.
        from: QueueOrder,
        /// The order now.
        to: QueueOrder,
    },
    /// A resolver was really asked (the cache could not answer, or refreshed itself).
    DnsLookup {
        /// The name.
        name: &'a str,
        /// The time that the resolver took.
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

impl Event<'_> {
    /// Reports this to an observer; returns false if the observer panicked.
    ///
    /// For layers: the panic ends here. Events come in the middle of transitions, in destructors and in
    /// tasks that other calls share, none of which may unwind.
    #[inline]
    pub fn report_to(&self, observer: &dyn Observer) -> bool {
        catch_unwind(AssertUnwindSafe(|| observer.on_event(self))).is_ok()
    }
}

/// Sees every [`Event`] of the layers it was given to.
///
/// Called synchronously at the transition, never under a lock of Tollgate's, on whatever task the
/// transition happens on: it must be quick and must not block. A panic in it ends there, and neither the
/// call that it watched nor any other hears of it.
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

    /// Returns true if [`Event::BodiesEnded`] is to be reported, which costs allocations for each call.
    ///
    /// Asked once, when a client is built. An observer that passes events on to another one returns what
    /// that one does.
    fn observes_bodies(&self) -> bool {
        false
    }
}

impl<O: Observer + ?Sized> Observer for std::sync::Arc<O> {
    fn on_event(&self, event: &Event<'_>) {
        (**self).on_event(event);
    }

    fn observes_bodies(&self) -> bool {
        (**self).observes_bodies()
    }
}

/// Both see every event, the first one first.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn on_event(&self, event: &Event<'_>) {
        let first = catch_unwind(AssertUnwindSafe(|| self.0.on_event(event)));
        // Also if that panicked: what it counts would be off from then on.
        self.1.on_event(event);
        if let Err(panic) = first {
            resume_unwind(panic);
        }
    }

    fn observes_bodies(&self) -> bool {
        self.0.observes_bodies() || self.1.observes_bodies()
    }
}

/// Sees nothing.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct NoObserver;

impl Observer for NoObserver {
    fn on_event(&self, _: &Event<'_>) {}
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::*;

    #[test]
    fn a_panic_of_an_observer_ends_there() {
        struct Panics;
        impl Observer for Panics {
            fn on_event(&self, _: &Event<'_>) {
                panic!("of the test");
            }
        }
        static SEEN: AtomicU64 = AtomicU64::new(0);
        struct Counts;
        impl Observer for Counts {
            fn on_event(&self, _: &Event<'_>) {
                SEEN.fetch_add(1, Relaxed);
            }
        }
        let event = Event::DnsCache {
            name: "billing.test",
            result: "hit",
        };
        assert!(!event.report_to(&Panics));
        assert!(event.report_to(&NoObserver));
        assert!(!event.report_to(&(Panics, Counts)), "of either");
        assert_eq!(SEEN.load(Relaxed), 1, "the other one hears it");
    }
}
