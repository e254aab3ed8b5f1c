//! The options of a client.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use tollgate_core::Observer;
use tollgate_keep_alive::{Http2Options, Protocol, RetryPolicy};

use crate::assemble::{self, Plane};
use crate::build_error::BuildError;
use crate::client::Client;
use crate::origin_options::OriginOptions;
use crate::settings::Settings;

/// Builds a [`Client`]; made by [`Client::builder`].
///
/// Every option has a default that is meant for production, and [`build`](Self::build) refuses what
/// makes no sense. Zero is never "unlimited".
#[derive(Clone, Default)]
#[must_use = "nothing is built before build()"]
pub struct ClientBuilder {
    pub(crate) settings: Settings,
    pub(crate) plane: Option<Plane>,
    pub(crate) resolver_named: bool,
    pub(crate) connector_named: bool,
}

/// How many requests go at once, and who waits.
impl ClientBuilder {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Most connections to one origin, those that are being opened included. Default 128.
    ///
    /// Choose it from the requests in flight at peak, requests per second times seconds per request,
    /// with room above that mean: for 5 take 12, for 20 take 32, for 100 take 125.
    /// [`guide::numbers`](crate::guide::numbers) has the formula.
    pub fn max_connections_per_origin(mut self, max: usize) -> Self {
        self.settings.max_connections_per_origin = Some(max);
        self
    }

    /// Most connections to all origins together. Default: no limit but those of the origins.
    ///
    /// When it blocks a request, the connection that has idled longest, to whichever origin, is
    /// closed for it.
    pub fn max_connections_total(mut self, max: usize) -> Self {
        self.settings.max_connections_total = Some(max);
        self
    }

    /// Most idle connections kept per origin; 0 keeps none. Default: as many as may be open.
    pub fn max_idle_per_origin(mut self, max: usize) -> Self {
        self.settings.max_idle_per_origin = Some(max);
        self
    }

    /// Idle connections kept per origin once it has been used, also when nobody asks. Default 0.
    pub fn min_idle_per_origin(mut self, min: usize) -> Self {
        self.settings.min_idle_per_origin = min;
        self
    }

    /// Most dials in progress to one origin. Default 16.
    pub fn max_connecting_per_origin(mut self, max: usize) -> Self {
        self.settings.max_connecting_per_origin = Some(max);
        self
    }

    /// Most requests waiting for one origin; one more fails at once with
    /// [`ErrorKind::QueueFull`](crate::ErrorKind::QueueFull). 0 never queues. Default 1,024.
    pub fn max_waiting(mut self, max: usize) -> Self {
        self.settings.max_waiting = Some(max);
        self
    }

    /// Longest wait for a connection, the time of an own dial not counted. Default 3 s.
    pub fn acquire_timeout(mut self, limit: Duration) -> Self {
        self.settings.acquire_timeout = Some(limit);
        self
    }

    /// Gives one origin options of its own. The last call for an origin counts, and replaces those
    /// before it as a whole.
    ///
    /// ```
    /// # fn main() -> Result<(), tollgate::BuildError> {
    /// let client = tollgate::Client::builder()
    ///     .origin("https://billing.internal", |o| o.max_connections(256))
    ///     .build()?;
    /// # Ok(()) }
    /// ```
    pub fn origin(
        mut self,
        origin: impl Into<String>,
        options: impl FnOnce(OriginOptions) -> OriginOptions,
    ) -> Self {
        let options = options(OriginOptions::default());
        self.settings.origins.push((origin.into(), options));
        self
    }
}

/// How long things take and live.
impl ClientBuilder {
    /// How long a connection may idle. Default 30 s, half of what most servers allow, so that we
    /// close first.
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.settings.idle_timeout = Some(limit);
        self
    }

    /// How long a connection may idle at most where its server announces a longer time than
    /// [`idle_timeout`](Self::idle_timeout), in `Keep-Alive: timeout=`. Default: as long as
    /// `idle_timeout`, so that the announcement, less a second, only ever shortens.
    ///
    /// Raise it for servers that are met directly: one behind a load balancer does not know when
    /// that one closes.
    pub fn keep_alive_hint_max(mut self, limit: Duration) -> Self {
        self.settings.keep_alive_hint_max = Some(limit);
        self
    }

    /// How old a connection may become, give or take a tenth. Default 5 min.
    pub fn max_lifetime(mut self, limit: Duration) -> Self {
        self.settings.max_lifetime = Some(limit);
        self
    }

    /// Most requests on one connection. Default: no limit.
    pub fn max_requests_per_connection(mut self, max: NonZeroU64) -> Self {
        self.settings.max_requests = Some(max);
        self
    }

    /// Which version of HTTP to speak. Default [`Protocol::Auto`]: HTTP/1.1 over plain TCP, and what
    /// TLS agrees on, which is HTTP/1.1 unless `TlsOptions::alpn` offers more.
    ///
    /// [`Protocol::Http2`] is for `http` origins that are known to speak it, as gRPC servers do.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.settings.protocol = protocol;
        self
    }

    /// Connections, streams, pings and windows of HTTP/2. Default [`Http2Options::new`].
    pub fn http2(mut self, options: Http2Options) -> Self {
        self.settings.http2 = Some(options);
        self
    }

    /// The budget of one connect: name resolution, TCP, TLS and the peer's first word of HTTP/2 (its
    /// preface) together. Default 5 s.
    ///
    /// A request also waits for connects that others began; what it waits in all is
    /// [`acquire_timeout`](Self::acquire_timeout) plus the time of a dial of its own.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.settings.connect_timeout = Some(limit);
        self
    }

    /// Limits name resolution within the connect budget. Default: the budget alone.
    pub fn dns_timeout(mut self, limit: Duration) -> Self {
        self.settings.dns_timeout = Some(limit);
        self
    }

    /// Limits the TCP connect within the connect budget. Default: the budget alone.
    pub fn tcp_timeout(mut self, limit: Duration) -> Self {
        self.settings.tcp_timeout = Some(limit);
        self
    }

    /// Limits the TLS handshake within the connect budget. Default: the budget alone.
    pub fn tls_timeout(mut self, limit: Duration) -> Self {
        self.settings.tls_timeout = Some(limit);
        self
    }

    /// Longest time from the first poll of a call to its response head, waiting for a connection
    /// included. Default: no limit of its own, as a slow answer may be a good one; tower-http's
    /// `TimeoutLayer` above the client covers the same span.
    ///
    /// When it strikes, the server may have acted on the request, unless
    /// [`Error::nothing_sent`](crate::Error::nothing_sent) says that it still waited.
    pub fn response_timeout(mut self, limit: Duration) -> Self {
        self.settings.response_timeout = Some(limit);
        self
    }

    /// Longest silence in the middle of a response body, while it is being read: a caller that does
    /// not poll the body is not timed. Default: no limit.
    pub fn body_idle_timeout(mut self, limit: Duration) -> Self {
        self.settings.body_idle_timeout = Some(limit);
        self
    }

    /// What is sent again without asking. Default [`RetryPolicy::default`]: what was never sent, and
    /// idempotent requests without a body on a reused connection that had died.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.settings.retry = Some(policy);
        self
    }
}

/// What is told to whom.
impl ClientBuilder {
    /// Tells `observer` what happens in the pool and the DNS cache, such as a
    /// [`PoolMetrics`](tollgate_queue_metrics::PoolMetrics). Further calls add observers.
    ///
    /// A [`TraceEvents`](tollgate_queue_metrics::TraceEvents) is always there: a second one would
    /// say everything twice.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.settings.observer = Some(match self.settings.observer.take() {
            Some(first) => Arc::new((first, observer)),
            None => observer,
        });
        self
    }

    /// Puts a copy of [`Timings`](tollgate_core::Timings) into each response's extensions, for code
    /// that sees the response behind layers that change its body. Default off;
    /// [`Body::timings`](crate::Body::timings) has them anyway.
    pub fn timings_in_extensions(mut self, on: bool) -> Self {
        self.settings.timings_in_extensions = on;
        self
    }

    /// Builds the client. Nothing is opened, looked up or spawned before the first request, and no
    /// runtime is needed.
    ///
    /// # Errors
    ///
    /// [`BuildError`] names the first option that makes no sense.
    pub fn build(self) -> Result<Client, BuildError> {
        assemble::client(self)
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("settings", &self.settings)
            .field("resolver_named", &self.resolver_named)
            .field("connector_named", &self.connector_named)
            .finish_non_exhaustive()
    }
}
