//! How a pool is configured.

use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::Connection;
use tollgate_core::{BoxError, Observer, Origin};
use tower_layer::Layer;
use tower_service::Service;

use crate::config::{Config, RetryPolicy};
use crate::origin_options::KeepAliveOriginOptions;
use crate::protocol::{Http2Options, Protocol};
use crate::service::KeepAlive;

/// Turns a connector into a [`KeepAlive`] pool.
///
/// ```
/// use std::time::Duration;
/// use tollgate_keep_alive::KeepAliveLayer;
///
/// let layer = KeepAliveLayer::new().idle_timeout(Duration::from_secs(50)).max_waiting(64);
/// ```
#[derive(Clone, Debug, Default)]
pub struct KeepAliveLayer {
    config: Config,
}

impl KeepAliveLayer {
    /// A pool with the defaults of each option.
    pub fn new() -> Self {
        Self::default()
    }

    /// Most connections to one origin, connecting ones included. Default 128.
    #[must_use]
    pub fn max_connections_per_origin(mut self, max: NonZeroUsize) -> Self {
        self.config.max_connections_per_origin = max;
        self
    }

    /// Most connections to all origins together. Default: no limit of its own.
    ///
    /// When it blocks someone, the connection that has idled longest, of any origin, is closed for
    /// them; if none is idle, the origin that has waited longest gets the next place.
    #[must_use]
    pub fn max_connections_total(mut self, max: NonZeroUsize) -> Self {
        self.config.max_connections_total = Some(max);
        self
    }

    /// Most dials in progress to one origin, so that a cold burst is not a storm of handshakes.
    /// Default 16.
    #[must_use]
    pub fn max_connecting_per_origin(mut self, max: NonZeroUsize) -> Self {
        self.config.max_connecting_per_origin = max;
        self
    }

    /// Most idle connections kept per origin; 0 keeps none. Default: as many as may be open, since
    /// closing a warm connection only to open another is what a pool is there to avoid.
    #[must_use]
    pub fn max_idle_per_origin(mut self, max: usize) -> Self {
        self.config.max_idle_per_origin = Some(max);
        self
    }

    /// Most requests waiting for one origin; one more is refused at once. 0 means never to queue.
    /// Default 1,024.
    #[must_use]
    pub fn max_waiting(mut self, max: usize) -> Self {
        self.config.max_waiting = max;
        self
    }

    /// Longest wait for a connection, not counting the time in which a dial of its own is under way.
    /// Default 3 s.
    #[must_use]
    pub fn acquire_timeout(mut self, limit: Duration) -> Self {
        self.config.acquire_timeout = limit;
        self
    }

    /// How long a connection may idle. Default 30 s: half of the 60 s after which most servers and
    /// load balancers close, so that we close first. A server's
    /// `Keep-Alive: timeout=`, less a second, shortens it for that connection; see
    /// [`keep_alive_hint_max`](Self::keep_alive_hint_max) for lengthening it.
    #[must_use]
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.config.idle_timeout = limit;
        self
    }

    /// How long a connection may idle at most if its server's `Keep-Alive: timeout=`, less a second,
    /// is longer than the idle timeout. Default: as long as the idle timeout, so that a hint only
    /// ever shortens: a server knows its own timeout, but not that of what stands before it.
    #[must_use]
    pub fn keep_alive_hint_max(mut self, limit: Duration) -> Self {
        self.config.hint_max = limit;
        self
    }

    /// How old a connection may become, give or take a tenth, so that DNS changes and new servers
    /// behind a load balancer are noticed. Default 5 min. It is retired between two requests.
    #[must_use]
    pub fn max_lifetime(mut self, limit: Duration) -> Self {
        self.config.max_lifetime = limit;
        self
    }

    /// Most requests on one connection. Default: no limit.
    #[must_use]
    pub fn max_requests_per_connection(mut self, max: NonZeroU64) -> Self {
        self.config.max_requests = Some(max);
        self
    }

    /// Connections kept open per origin once it has been used, also when nobody asks. Default 0.
    #[must_use]
    pub fn min_idle_per_origin(mut self, min: usize) -> Self {
        self.config.min_idle = min;
        self
    }

    /// Longest time for one open, whatever the connector does. Default 10 s. A connect timeout in the
    /// connector itself, which can name the phase, should be shorter.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.config.connect_timeout = limit;
        self
    }

    /// What is sent again without asking. Default [`RetryPolicy::default`].
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.config.retry = policy;
        self
    }

    /// After a server sent bytes that nobody asked for, use no connection to it twice for this long.
    /// Default: off; the connection itself is always closed.
    ///
    /// Bytes that arrive after the next request was sent cannot be told from its answer, so a server
    /// that desynchronises once is better not trusted for a while where answers are sensitive.
    #[must_use]
    pub fn quarantine(mut self, length: Duration) -> Self {
        self.config.quarantine = Some(length);
        self
    }

    /// Puts a copy of [`Timings`](tollgate_core::Timings) into each response's extensions, for code
    /// that sees the response behind other layers. Default off: it costs an allocation, and
    /// [`KeepAliveBody::timings`](crate::KeepAliveBody::timings) has them anyway.
    #[must_use]
    pub fn timings_in_extensions(mut self, on: bool) -> Self {
        self.config.timings_in_extensions = on;
        self
    }

    /// Which version of HTTP the pool speaks. Default [`Protocol::Auto`]: what the connector agreed
    /// on with the peer.
    #[must_use]
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.config.protocol = protocol;
        self
    }

    /// How the pool uses HTTP/2, where it speaks it. Default [`Http2Options::new`].
    #[must_use]
    pub fn http2(mut self, options: Http2Options) -> Self {
        self.config.http2 = options;
        self
    }

    /// Gives one origin a cap of its own.
    #[must_use]
    pub fn origin_max_connections(mut self, origin: Origin, max: NonZeroUsize) -> Self {
        self.config.own_mut(origin).max_connections = Some(max);
        self
    }

    /// Gives one origin options of its own, in the place of those it was given before.
    #[must_use]
    pub fn origin(mut self, origin: Origin, options: KeepAliveOriginOptions) -> Self {
        *self.config.own_mut(origin) = options;
        self
    }

    /// Tells `observer` what happens. Default: nobody, at no cost. A panic of the observer's is
    /// logged and changes nothing.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.config.observer = Some(Observed(observer));
        self
    }
}

impl<C> Layer<C> for KeepAliveLayer
where
    C: Service<http::Uri> + Clone + Send + Sync + 'static,
    C::Response: Read + Write + Connection + Unpin + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    type Service = KeepAlive;

    fn layer(&self, connector: C) -> KeepAlive {
        KeepAlive::with_config(connector, self.config.clone())
    }
}

/// An observer, for a configuration that derives `Debug`.
#[derive(Clone)]
pub(crate) struct Observed(pub(crate) Arc<dyn Observer>);

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
