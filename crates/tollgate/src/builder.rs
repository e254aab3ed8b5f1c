//! The options of a client.

use std::sync::Arc;
use std::time::Duration;

use tollgate_core::Observer;
use tollgate_keep_alive::{
    Discipline, Http1Options, Http2Options, OriginOptions, Protocol, RetryPolicy,
};

use crate::assemble::{self, Plane};
use crate::build_error::BuildError;
use crate::client::Client;
use crate::settings::{Observed, Settings};

/// Builds a [`Client`]; made by [`Client::builder`].
///
/// Every option has a default that is meant for production, and [`build`](Self::build) refuses what
/// makes no sense. Zero is never "unlimited".
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is built before build()"]
pub struct ClientBuilder {
    pub(crate) settings: Settings,
    pub(crate) plane: Option<Plane>,
    pub(crate) resolver_named: bool,
    pub(crate) connector_named: bool,
}

macro_rules! of_all_origins {
    ($(
        $(#[$doc:meta])*
        $name:ident($arg:ident: $type:ident) = $default:expr $(, not 0: $advice:literal)?;
    )*) => {
        /// The limits of every origin, which [`origin`](Self::origin) replaces for one.
        impl ClientBuilder {
            $(
                $(#[$doc])*
                pub fn $name(mut self, $arg: tollgate_keep_alive::__plain!($type)) -> Self {
                    self.settings.all = self.settings.all.$name($arg);
                    self
                }
            )*
        }
    };
}
tollgate_keep_alive::__origin_options!(of_all_origins);

macro_rules! of_the_pool {
    ($($(#[$doc:meta])* $name:ident($arg:ident: $type:ty);)*) => {
        /// The options of the whole pool.
        impl ClientBuilder {
            $(
                $(#[$doc])*
                pub fn $name(mut self, $arg: $type) -> Self {
                    self.settings.keep_alive = self.settings.keep_alive.$name($arg);
                    self
                }
            )*
        }
    };
}
tollgate_keep_alive::__pool_options!(of_the_pool);

/// The options of the client.
impl ClientBuilder {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Sets the most connections to all origins together. Default: no limit but those of the origins.
    ///
    /// When it blocks a request, the connection that has idled longest, to whichever origin, is
    /// closed for it. Those for
    /// [exchanges that last](Self::max_long_lived_per_origin) are among them: calls find no place while such
    /// exchanges have all, so it belongs well above the number of those that are expected.
    pub fn max_connections_total(mut self, max: usize) -> Self {
        self.settings.max_connections_total = Some(max);
        self
    }

    /// Gives exchanges that last connections of their own, at most `max` to an origin, so that they take
    /// none from calls. Default: they share those of the calls.
    ///
    /// They are the requests that ask for an upgrade (WebSocket), for a tunnel (CONNECT) or for
    /// `text/event-stream`, and those marked with [`LongLived`](crate::LongLived), however long they then
    /// take. One beyond `max` is refused as [`QueueFull`](crate::ErrorKind::QueueFull), since no place
    /// falls free soon. [`timeout`](Self::timeout) and [`body_idle_timeout`](Self::body_idle_timeout) of the
    /// client do not hold for them; those of a request's own [`Limits`](crate::Limits) do.
    ///
    /// They are counted apart: [`Client::long_lived_stats`], `long_lived` of
    /// [`Client::snapshot`], and [`long_lived_observer`](Self::long_lived_observer). They count in
    /// [`max_connections_total`](Self::max_connections_total), where they wait for a place like a call, and
    /// leave an address that is gone from its name's DNS answer once they end. A service of
    /// [`Client::origin`] sends them over these connections too.
    pub fn max_long_lived_per_origin(mut self, max: usize) -> Self {
        self.settings.max_long_lived = Some(max);
        self
    }

    /// Sets the observer of the connections for exchanges that last, in the place of the client's: such
    /// as a [`PoolMetrics`](tollgate_queue_metrics::PoolMetrics) with a name of its own. Default: the
    /// client's, which then counts both as one.
    pub fn long_lived_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.settings.long_lived_observer = Some(Observed(observer));
        self
    }

    /// Gives one origin options of its own. The last call for an origin counts, and replaces those
    /// before it as a whole.
    ///
    /// ```
    /// # fn main() -> Result<(), tollgate::BuildError> {
    /// let client = tollgate::Client::builder()
    ///     .origin("https://billing.internal", |o| o.max_connections_per_origin(256))
    ///     .build()?;
    /// # Ok(()) }
    /// ```
    pub fn origin(
        mut self,
        origin: impl Into<String>,
        options: impl FnOnce(OriginOptions) -> OriginOptions,
    ) -> Self {
        let options = options(OriginOptions::new());
        // As text: what is no origin is an error of `build`, like every other mistake.
        self.settings.own.push((origin.into(), options));
        self
    }

    /// Sets the version of HTTP. Default [`Protocol::Auto`]: HTTP/1.1 over plain TCP, and what TLS
    /// agrees on, which is HTTP/1.1 unless `TlsOptions::alpn` offers more.
    ///
    /// [`Protocol::Http2`] is for `http` origins that are known to speak it, as gRPC servers do.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.settings.protocol = protocol;
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

    /// Adds an observer of the pool and the DNS cache, such as a
    /// [`PoolMetrics`](tollgate_queue_metrics::PoolMetrics). Further calls add observers.
    ///
    /// A [`TraceEvents`](tollgate_queue_metrics::TraceEvents) is always there: a second one would
    /// report everything twice.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.settings.observer = Some(Observed(match self.settings.observer.take() {
            Some(Observed(first)) => Arc::new((first, observer)),
            None => observer,
        }));
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
