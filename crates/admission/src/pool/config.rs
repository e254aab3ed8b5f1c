//! What a pool may do.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::time::Duration;

/// A limit to start from when nothing is known: what a service with a hundred requests in flight
/// needs, and a hundredth of the ephemeral ports.
const MAX_OPEN: NonZeroUsize = NonZeroUsize::new(128).expect("not zero");
/// An eighth of the connections. An unbounded burst of handshakes slows each of them until they
/// time out (hyper#4134); 16 at a time fill the pool in eight round trips.
const MAX_OPENING: NonZeroUsize = NonZeroUsize::new(16).expect("not zero");
/// As many as an origin's HTTP/2 connections by default, so that all may be replaced at once.
const MAX_DRAINING: usize = 4;
/// Common servers and load balancers close at 60 s or later; half leaves a wide margin.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// DNS changes and new backends get traffic within minutes.
const MAX_LIFETIME: Duration = Duration::from_secs(300);
const LIFETIME_JITTER_PERCENT: u8 = 10;
/// One may be an accident, two a coincidence.
const FAILURES: NonZeroU32 = NonZeroU32::new(3).expect("not zero");

/// The limits of a [`Pool`](crate::Pool).
///
/// Durations are unrestricted; one that is too long to add to the clock means never.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolConfig {
    /// The most connections open, opening and closing at once. Default: 128.
    pub max_open: NonZeroUsize,
    /// The most opens in progress at once. Default: 16.
    pub max_opening: NonZeroUsize,
    /// The most connections of many leases that may drain beside their replacements. One more
    /// holds its place until it is gone. Default: 4.
    pub max_draining: usize,
    /// How many may wait besides those for whom there is room to open a connection. 0 means that
    /// a request waits for nothing but an open. Default: 1,024, Envoy's `max_pending_requests`.
    pub max_waiting: usize,
    /// How long a request may wait for a lease. It stands still while the request has an open of
    /// its own. Default: 3 s, linkerd's failfast timeout.
    pub acquire_timeout: Duration,
    /// The most idle connections to keep. Default: no limit besides `max_open`, so that what a
    /// burst has opened is there for the next.
    pub max_idle: usize,
    /// How long a connection may be idle. Default: 30 s.
    pub idle_timeout: Option<Duration>,
    /// How long a peer's own word may let a connection be idle beyond `idle_timeout`: what it says
    /// counts up to here. Default: 0, so that it only ever shortens.
    pub idle_hint_max: Duration,
    /// How old a connection may grow; then it finishes what it is doing. Default: 5 min.
    pub max_lifetime: Option<Duration>,
    /// How much a single lifetime may differ from `max_lifetime`, either way. Default: 10 %.
    pub lifetime_jitter_percent: u8,
    /// How many requests a connection may carry. Default: no limit.
    pub max_requests: Option<NonZeroU64>,
    /// How many idle connections to keep ready while the pool is in use: replaced at most once a
    /// second, never kept beyond their idle timeout, and no longer once no request came for
    /// `max_lifetime` (or 5 min). Default: 0.
    pub min_idle: usize,
    /// What to do when opens fail.
    pub back_off: BackOff,
    /// Where the jitter starts: pools with different seeds spread differently. Default: 0.
    pub seed: u64,
}

/// When a pool stops trying to open, and for how long.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BackOff {
    /// How many opens in a row must fail, with nothing open, before the pool backs off.
    /// Default: 3.
    pub after: NonZeroU32,
    /// The first pause; each failed probe doubles it. Default: 50 ms.
    pub first: Duration,
    /// The longest pause. Default: 1 s.
    pub max: Duration,
    /// How much a pause may differ, either way. Default: 10 %.
    pub jitter_percent: u8,
}

impl BackOff {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            after: FAILURES,
            first: Duration::from_millis(50),
            max: Duration::from_secs(1),
            jitter_percent: 10,
        }
    }
}

impl Default for BackOff {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// Defines a consuming setter for each field.
macro_rules! setters {
    ($($field:ident: $type:ty,)*) => {
        $(
            #[doc = concat!("Sets [`", stringify!($field), "`](Self#structfield.", stringify!($field), ").")]
            #[must_use]
            pub const fn $field(mut self, $field: $type) -> Self {
                self.$field = $field;
                self
            }
        )*
    };
}

impl BackOff {
    setters! {
        after: NonZeroU32,
        first: Duration,
        max: Duration,
        jitter_percent: u8,
    }
}

impl PoolConfig {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            max_open: MAX_OPEN,
            max_opening: MAX_OPENING,
            max_draining: MAX_DRAINING,
            max_waiting: crate::DEFAULT_MAX_WAITING,
            acquire_timeout: crate::DEFAULT_ACQUIRE_TIMEOUT,
            max_idle: usize::MAX,
            idle_timeout: Some(IDLE_TIMEOUT),
            idle_hint_max: Duration::ZERO,
            max_lifetime: Some(MAX_LIFETIME),
            lifetime_jitter_percent: LIFETIME_JITTER_PERCENT,
            max_requests: None,
            min_idle: 0,
            back_off: BackOff::new(),
            seed: 0,
        }
    }

    setters! {
        max_open: NonZeroUsize,
        max_opening: NonZeroUsize,
        max_draining: usize,
        max_waiting: usize,
        acquire_timeout: Duration,
        max_idle: usize,
        idle_timeout: Option<Duration>,
        idle_hint_max: Duration,
        max_lifetime: Option<Duration>,
        lifetime_jitter_percent: u8,
        max_requests: Option<NonZeroU64>,
        min_idle: usize,
        back_off: BackOff,
        seed: u64,
    }
}
