//! The options of a pool, each declared once: its field, its default and its setter.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::time::Duration;

use crate::queue::Discipline;

/// A limit to start from when nothing is known: what a service with a hundred requests in flight
/// needs, and a hundredth of the ephemeral ports.
const MAX_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(128).expect("not zero");
/// An eighth of the connections. An unbounded burst of handshakes slows each of them until they
/// time out (hyper#4134); 16 at a time fill the pool in eight round trips.
const MAX_CONNECTING: NonZeroUsize = NonZeroUsize::new(16).expect("not zero");
/// As many as an origin's HTTP/2 connections by default, so that all may be replaced at once.
const MAX_DRAINING: usize = 4;
/// Common servers and load balancers close at 60 s or later; half is a wide margin.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// DNS changes and new backends get traffic within minutes.
const MAX_LIFETIME: Duration = Duration::from_secs(300);
const LIFETIME_JITTER_PERCENT: u8 = 10;
/// One may be an accident, two a coincidence.
const FAILURES: NonZeroU32 = NonZeroU32::new(3).expect("not zero");
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const PAUSE_JITTER_PERCENT: u8 = 10;

/// Declares the options of a struct: fields, `new` with the defaults, and a consuming setter each.
macro_rules! options {
    (
        $(#[$about:meta])*
        pub struct $name:ident {
            $($(#[$doc:meta])* $field:ident: $type:ty = $default:expr,)*
        }
    ) => {
        $(#[$about])*
        #[non_exhaustive]
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)*
        }

        impl $name {
            /// Returns the defaults.
            pub const fn new() -> Self {
                Self { $($field: $default,)* }
            }

            $(
                $(#[$doc])*
                #[must_use]
                pub const fn $field(mut self, $field: $type) -> Self {
                    self.$field = $field;
                    self
                }
            )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }
    };
}

options! {
    /// The limits of a [`Pool`](crate::Pool), which is that of one origin.
    ///
    /// Durations are unrestricted; one that is too long to add to the clock means never.
    #[derive(Clone, Debug)]
    pub struct PoolConfig {
        /// The most connections open, opening and closing at once. Default: 128.
        max_connections_per_origin: NonZeroUsize = MAX_CONNECTIONS,
        /// The most opens in progress at once. Default: 16.
        max_connecting_per_origin: NonZeroUsize = MAX_CONNECTING,
        /// The most connections of many leases that may drain beside their replacements. One more
        /// holds its place until it is gone. Default: 4.
        max_draining: usize = MAX_DRAINING,
        /// The most requests that may wait besides those for whom there is room to open a
        /// connection. 0 means that a request waits for nothing but an open. Default: 1,024,
        /// Envoy's `max_pending_requests`.
        max_waiting: usize = crate::DEFAULT_MAX_WAITING,
        /// The longest wait for a lease. It stands still while the request has an open of its own.
        /// Default: 3 s, linkerd's failfast timeout.
        acquire_timeout: Duration = crate::DEFAULT_ACQUIRE_TIMEOUT,
        /// The most idle connections to keep. Default: no limit besides that on all connections, so
        /// that what a burst has opened is there for the next.
        max_idle_per_origin: usize = usize::MAX,
        /// The longest time that a connection may be idle. Default: 30 s.
        idle_timeout: Option<Duration> = Some(IDLE_TIMEOUT),
        /// The longest idle time that a peer's own hint may grant beyond the idle timeout.
        /// Default: 0, so that a hint only ever shortens.
        keep_alive_hint_max: Duration = Duration::ZERO,
        /// The age at which a connection is retired; it finishes its requests. Default: 5 min.
        max_lifetime: Option<Duration> = Some(MAX_LIFETIME),
        /// The most that a single lifetime may differ from the maximum, either way. Default: 10 %.
        lifetime_jitter_percent: u8 = LIFETIME_JITTER_PERCENT,
        /// The longest time that a connection of many leases may drain, before the rest on it is cut.
        /// Default: no limit; more than `max_draining` are cut when their places are needed.
        drain_timeout: Option<Duration> = None,
        /// The most requests that a connection may carry. Default: no limit.
        max_requests_per_connection: Option<NonZeroU64> = None,
        /// The number of idle connections to keep ready while the pool is in use: replaced at most
        /// once a second, never kept beyond their idle timeout, and no longer once no request came
        /// for the maximum lifetime (or 5 min). Default: 0.
        min_idle_per_origin: usize = 0,
        /// The order of those that wait. Default: adaptive.
        discipline: Discipline = Discipline::Adaptive,
        /// The pauses after opens that fail.
        back_off: BackOff = BackOff::new(),
        /// The start of the jitter: pools with different seeds spread differently. Default: 0.
        seed: u64 = 0,
    }
}

options! {
    /// The point at which a pool stops trying to open, and for how long.
    #[derive(Clone, Copy, Debug)]
    pub struct BackOff {
        /// The number of opens in a row that must fail, with nothing open, before the pool backs
        /// off. Default: 3.
        after: NonZeroU32 = FAILURES,
        /// The first pause; each failed probe doubles it. Default: 50 ms.
        first: Duration = FIRST_PAUSE,
        /// The longest pause. Default: 1 s.
        max: Duration = LONGEST_PAUSE,
        /// The most that a pause may differ, either way. Default: 10 %.
        jitter_percent: u8 = PAUSE_JITTER_PERCENT,
    }
}
