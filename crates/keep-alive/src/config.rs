//! The options of a pool and their defaults.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use tollgate_admission::PoolConfig;
use tollgate_core::Origin;

use crate::layer::Observed;
use crate::origin_options::KeepAliveOriginOptions;
use crate::protocol::{Http2Options, Protocol};

/// A starting point taken from the article that describes the incident this library is for; not
/// measured. The crate's front page says how to choose.
const MAX_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(128).expect("not zero");
/// Half of what servers allow a connection to idle, 60 s in nginx' and most load balancers' defaults
/// (75 s and 60 s), so that the race for a closing connection is rare.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Long enough to be worth a handshake, short enough for a DNS change or a scale-out to be seen.
const MAX_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// Twice the facade's connect budget: a backstop for connectors without a timeout of their own.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A choice, not a measurement: it fills 128 places in eight rounds of dials.
const MAX_CONNECTING: NonZeroUsize = NonZeroUsize::new(16).expect("not zero");
/// Envoy's `max_pending_requests`.
const MAX_WAITING: usize = 1024;
/// linkerd's failfast.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// Most requests that are sent again at all are small; gRPC keeps as much and more.
const REPLAY_BUFFER: usize = 64 * 1024;

#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) max_connections_per_origin: NonZeroUsize,
    pub(crate) max_connections_total: Option<NonZeroUsize>,
    pub(crate) max_connecting_per_origin: NonZeroUsize,
    pub(crate) max_idle_per_origin: Option<usize>,
    pub(crate) max_waiting: usize,
    pub(crate) acquire_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) hint_max: Duration,
    pub(crate) max_lifetime: Duration,
    pub(crate) max_requests: Option<NonZeroU64>,
    pub(crate) min_idle: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) retry: RetryPolicy,
    pub(crate) quarantine: Option<Duration>,
    pub(crate) timings_in_extensions: bool,
    pub(crate) protocol: Protocol,
    pub(crate) http2: Http2Options,
    pub(crate) overrides: Vec<(Origin, KeepAliveOriginOptions)>,
    pub(crate) observer: Option<Observed>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_connections_per_origin: MAX_CONNECTIONS,
            max_connections_total: None,
            max_connecting_per_origin: MAX_CONNECTING,
            max_idle_per_origin: None,
            max_waiting: MAX_WAITING,
            acquire_timeout: ACQUIRE_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            hint_max: Duration::ZERO,
            max_lifetime: MAX_LIFETIME,
            max_requests: None,
            min_idle: 0,
            connect_timeout: CONNECT_TIMEOUT,
            retry: RetryPolicy::default(),
            quarantine: None,
            timings_in_extensions: false,
            protocol: Protocol::default(),
            http2: Http2Options::default(),
            overrides: Vec::new(),
            observer: None,
        }
    }
}

impl Config {
    /// What one origin has of its own.
    fn own(&self, origin: &Origin) -> KeepAliveOriginOptions {
        let own = self.overrides.iter().find(|(named, _)| named == origin);
        own.map_or_else(KeepAliveOriginOptions::new, |(_, options)| *options)
    }

    /// What one origin has of its own, to change it.
    pub(crate) fn own_mut(&mut self, origin: Origin) -> &mut KeepAliveOriginOptions {
        let known = self
            .overrides
            .iter()
            .position(|(named, _)| *named == origin);
        let at = known.unwrap_or_else(|| {
            self.overrides.push((origin, KeepAliveOriginOptions::new()));
            self.overrides.len() - 1
        });
        &mut self.overrides[at].1
    }

    /// The cap of one origin.
    pub(crate) fn limit(&self, origin: &Origin) -> NonZeroUsize {
        let own = self.own(origin).max_connections;
        own.unwrap_or(self.max_connections_per_origin)
    }

    /// The cap of an origin that has `limit`, if it speaks HTTP/2 or if it does not.
    pub(crate) fn max_open(&self, limit: NonZeroUsize, has_streams: bool) -> NonZeroUsize {
        if has_streams {
            limit.min(self.http2.max_connections)
        } else {
            limit
        }
    }

    /// The longest time for one open.
    pub(crate) fn connect_timeout(&self, origin: &Origin) -> Duration {
        let own = self.own(origin).connect_timeout;
        own.unwrap_or(self.connect_timeout)
    }

    /// The engine's configuration for an origin with this cap.
    pub(crate) fn engine(&self, origin: &Origin, max_open: NonZeroUsize) -> PoolConfig {
        let own = self.own(origin);
        let max_idle = own.max_idle.or(self.max_idle_per_origin);
        PoolConfig::default()
            .max_open(max_open)
            .max_opening(own.max_connecting.unwrap_or(self.max_connecting_per_origin))
            .max_waiting(own.max_waiting.unwrap_or(self.max_waiting))
            .acquire_timeout(own.acquire_timeout.unwrap_or(self.acquire_timeout))
            .max_idle(max_idle.unwrap_or_else(|| max_open.get()))
            .idle_timeout(Some(own.idle_timeout.unwrap_or(self.idle_timeout)))
            .idle_hint_max(self.hint_max)
            .max_lifetime(Some(own.max_lifetime.unwrap_or(self.max_lifetime)))
            .min_idle(own.min_idle.unwrap_or(self.min_idle))
            .max_requests(self.max_requests)
    }
}

/// What the pool sends again without asking, each on another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// How often a request of any method is started again when not one byte of it was written:
    /// hyper hands it back. Default 3; four times as often when the peer ended an HTTP/2 connection,
    /// as those do that serve a set number of requests on each.
    pub unsent: u32,
    /// Whether an idempotent request (RFC 9110 section 9.2.2) without a body is sent a second time
    /// when the *reused* connection it was on ended before a single byte of response. Once, and never
    /// after a failure on a fresh connection. Default true, as in Go, undici and browsers.
    pub idempotent: bool,
    /// How many bytes of a request's body are kept until its response begins, to send again what an
    /// HTTP/2 peer says it did not process: a refused stream, or one that a GOAWAY leaves out. A
    /// longer body is sent again only if nothing of it was taken yet. What is kept is shared with
    /// the body, not copied. Default 64 KiB.
    pub buffer: usize,
}

impl RetryPolicy {
    /// Nothing is sent again.
    pub const NEVER: Self = Self {
        unsent: 0,
        idempotent: false,
        buffer: 0,
    };
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            unsent: 3,
            idempotent: true,
            buffer: REPLAY_BUFFER,
        }
    }
}
