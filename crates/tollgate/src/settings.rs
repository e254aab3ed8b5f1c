//! What a builder was told, and what makes sense of it.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use tollgate_cached_dns::CachedDnsLayer;
use tollgate_connect_timeout::ConnectTimeoutLayer;
use tollgate_core::{Observer, Origin};
use tollgate_dial::DialLayer;
use tollgate_keep_alive::{Http2Options, KeepAliveLayer, Protocol, RetryPolicy};

use crate::budgets::Budgets;
use crate::build_error::BuildError;
use crate::checks::{origin, places};
use crate::origin_options::OriginOptions;

/// tollgate-keep-alive's default.
pub(crate) const MAX_CONNECTIONS: usize = 128;
/// The incident this library began with, whose dials hung for minutes; Envoy's `connect_timeout`
/// has the same default.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The pool's own limit on a dial strikes only where the connector does not keep the budget, such as
/// one that blocks in `poll_ready`.
const BACKSTOP: Duration = Duration::from_secs(5);
/// A lookup outlasts the budget of the connect that asked for it, so that the error names the budget
/// and the answer still fills the cache.
const LOOKUP_MARGIN: Duration = Duration::from_secs(1);
/// tollgate-cached-dns: how long a lookup lives that nobody waits for.
const LOOKUP_LIFE: Duration = Duration::from_secs(10);

#[derive(Clone, Default)]
pub(crate) struct Settings {
    pub(crate) max_connections_per_origin: Option<usize>,
    pub(crate) max_connections_total: Option<usize>,
    pub(crate) max_idle_per_origin: Option<usize>,
    pub(crate) min_idle_per_origin: usize,
    pub(crate) max_connecting_per_origin: Option<usize>,
    pub(crate) max_waiting: Option<usize>,
    pub(crate) max_requests: Option<NonZeroU64>,
    pub(crate) acquire_timeout: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) keep_alive_hint_max: Option<Duration>,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) dns_timeout: Option<Duration>,
    pub(crate) tcp_timeout: Option<Duration>,
    pub(crate) tls_timeout: Option<Duration>,
    pub(crate) response_timeout: Option<Duration>,
    pub(crate) body_idle_timeout: Option<Duration>,
    pub(crate) dns_max_ttl: Option<Duration>,
    pub(crate) dns: Option<CachedDnsLayer>,
    pub(crate) dial: Option<DialLayer>,
    pub(crate) protocol: Protocol,
    pub(crate) http2: Option<Http2Options>,
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) timings_in_extensions: bool,
    pub(crate) origins: Vec<(String, OriginOptions)>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<crate::tls::TlsOptions>,
}

impl Settings {
    /// The pool's options.
    pub(crate) fn keep_alive(&self) -> Result<KeepAliveLayer, BuildError> {
        let mut layer = KeepAliveLayer::new()
            .connect_timeout(self.budget().saturating_add(BACKSTOP))
            .protocol(self.protocol)
            .http2(self.http2.unwrap_or_default())
            .min_idle_per_origin(self.min_idle())
            .timings_in_extensions(self.timings_in_extensions);
        if let Some(max) = self.max_connections_per_origin {
            layer = layer.max_connections_per_origin(places("max_connections_per_origin", max)?);
        }
        if let Some(max) = self.max_connections_total {
            layer = layer.max_connections_total(places("max_connections_total", max)?);
        }
        if let Some(max) = self.max_connecting_per_origin {
            layer = layer.max_connecting_per_origin(places("max_connecting_per_origin", max)?);
        }
        if let Some(max) = self.max_idle_per_origin {
            layer = layer.max_idle_per_origin(max);
        }
        if let Some(max) = self.max_waiting {
            layer = layer.max_waiting(max);
        }
        if let Some(max) = self.max_requests {
            layer = layer.max_requests_per_connection(max);
        }
        if let Some(limit) = self.acquire_timeout {
            layer = layer.acquire_timeout(limit);
        }
        if let Some(limit) = self.idle_timeout {
            layer = layer.idle_timeout(limit);
        }
        if let Some(limit) = self.keep_alive_hint_max {
            layer = layer.keep_alive_hint_max(limit);
        }
        if let Some(limit) = self.max_lifetime {
            layer = layer.max_lifetime(limit);
        }
        if let Some(policy) = self.retry {
            layer = layer.retry(policy);
        }
        if let Some(observer) = &self.observer {
            layer = layer.observer(Arc::clone(observer));
        }
        self.with_origins(layer)
    }

    fn with_origins(&self, mut layer: KeepAliveLayer) -> Result<KeepAliveLayer, BuildError> {
        for (origin, options) in self.own()? {
            layer = layer.origin(origin, options.keep_alive(BACKSTOP)?);
        }
        Ok(layer)
    }

    /// The origins that have options of their own, each once: its last call counts, as a whole.
    fn own(&self) -> Result<Vec<(Origin, &OriginOptions)>, BuildError> {
        let mut own: Vec<(Origin, &OriginOptions)> = Vec::new();
        for (name, options) in &self.origins {
            let origin = origin(name)?;
            own.retain(|(named, _)| *named != origin);
            own.push((origin, options));
        }
        Ok(own)
    }

    /// The connect budgets' layer.
    pub(crate) fn connect(&self) -> Result<Budgets, BuildError> {
        let own = self.own()?.into_iter().filter_map(|(origin, options)| {
            let budget = options.connect_timeout?;
            Some((origin, self.connect_within(budget)))
        });
        Ok(Budgets {
            usual: self.connect_within(self.budget()),
            own: own.collect(),
        })
    }

    fn connect_within(&self, budget: Duration) -> ConnectTimeoutLayer {
        let mut layer = ConnectTimeoutLayer::new(budget);
        if let Some(limit) = self.dns_timeout {
            layer = layer.dns(limit);
        }
        if let Some(limit) = self.tcp_timeout {
            layer = layer.tcp(limit);
        }
        if let Some(limit) = self.tls_timeout {
            layer = layer.tls(limit);
        }
        layer
    }

    /// The DNS cache's options.
    pub(crate) fn cached_dns(&self) -> Result<CachedDnsLayer, BuildError> {
        // Origins share lookups, so the most patient of them sets the limit.
        let own = self.own()?;
        let own = own
            .iter()
            .filter_map(|(_, options)| options.connect_timeout);
        let patience = own
            .fold(self.budget(), Duration::max)
            .saturating_add(LOOKUP_MARGIN);
        let mut layer = self.dns.clone().unwrap_or_else(|| {
            CachedDnsLayer::new()
                .lookup_timeout(patience)
                .hard_stop(patience.max(LOOKUP_LIFE))
        });
        if let Some(max) = self.dns_max_ttl {
            layer = layer.max_ttl(max);
        }
        if let Some(observer) = &self.observer {
            layer = layer.observer(Arc::clone(observer));
        }
        Ok(layer)
    }

    /// The dialler's options, without a time limit beside the budget.
    pub(crate) fn dialler(&self) -> DialLayer {
        self.dial.clone().unwrap_or_default().connect_timeout(None)
    }

    fn budget(&self) -> Duration {
        self.connect_timeout.unwrap_or(CONNECT_TIMEOUT)
    }

    fn min_idle(&self) -> usize {
        self.min_idle_per_origin
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field(
                "max_connections_per_origin",
                &self.max_connections_per_origin,
            )
            .field("max_connections_total", &self.max_connections_total)
            .field("max_idle_per_origin", &self.max_idle_per_origin)
            .field("max_waiting", &self.max_waiting)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("max_lifetime", &self.max_lifetime)
            .field("connect_timeout", &self.connect_timeout)
            .field("dns_max_ttl", &self.dns_max_ttl)
            .field("origins", &self.origins)
            .finish_non_exhaustive()
    }
}
