//! The options of a pool as it holds them.

use std::num::NonZeroUsize;
use std::time::Duration;

use tokio::runtime::Handle;
use tollgate_admission::{Discipline, PoolConfig};
use tollgate_core::Origin;

use crate::options::http1::Http1Options;
use crate::options::observed::Observed;
use crate::options::origin_options::{Limits, OriginOptions};
use crate::options::protocol::{Http2Options, Protocol};
use crate::options::retry::RetryPolicy;

#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    /// Of all origins.
    pub(crate) all: OriginOptions,
    /// Of single origins, in the place of those of all.
    own: Vec<(Origin, OriginOptions)>,
    pub(crate) max_connections_total: Option<NonZeroUsize>,
    pub(crate) retry: RetryPolicy,
    pub(crate) discipline: Discipline,
    pub(crate) quarantine: Option<Duration>,
    pub(crate) timings_in_extensions: bool,
    pub(crate) protocol: Protocol,
    pub(crate) http1: Http1Options,
    pub(crate) http2: Http2Options,
    /// The runtime of dials and connections; `None` for the runtimes of the requests that wait.
    pub(crate) runtime: Option<Handle>,
    pub(crate) observer: Option<Observed>,
}

impl Config {
    /// Returns the options of one origin as they hold.
    pub(crate) fn of(&self, origin: &Origin) -> Limits {
        self.options(origin).limits()
    }

    fn options(&self, origin: &Origin) -> OriginOptions {
        let own = self.own.iter().find(|(named, _)| named == origin);
        let own = own.map_or_else(OriginOptions::new, |(_, options)| *options);
        own.or(self.all)
    }

    /// The limits of each request to an origin, if it has any.
    pub(crate) fn time_limits(&self, origin: &Origin) -> Option<tollgate_core::Limits> {
        let limits = self.options(origin).time_limits();
        Some(limits).filter(|limits| *limits != tollgate_core::Limits::new())
    }

    /// Replaces the options that one origin has of its own.
    pub(crate) fn set_own(&mut self, origin: Origin, options: OriginOptions) {
        self.own.retain(|(named, _)| *named != origin);
        self.own.push((origin, options));
    }

    /// The cap of one origin.
    pub(crate) fn limit(&self, origin: &Origin) -> NonZeroUsize {
        self.of(origin).max_connections_per_origin
    }

    /// The cap of an origin that has `limit`, if it speaks HTTP/2 or if it does not.
    pub(crate) fn cap(&self, limit: NonZeroUsize, is_http2: bool) -> NonZeroUsize {
        if is_http2 {
            limit.min(self.http2.max_http2_connections)
        } else {
            limit
        }
    }

    /// The longest wait for a lease, not counting a dial of its own.
    pub(crate) fn acquire_timeout(&self, origin: &Origin) -> Duration {
        self.of(origin).acquire_timeout
    }

    /// The longest time for one open, and `true` if that is only the default.
    pub(crate) fn connect_timeout(&self, origin: &Origin) -> (Duration, bool) {
        let options = self.options(origin);
        let is_default = options.own_connect_timeout().is_none();
        (options.limits().connect_timeout, is_default)
    }

    /// The engine's configuration for an origin with this cap.
    pub(crate) fn engine(&self, origin: &Origin, cap: NonZeroUsize) -> PoolConfig {
        let limits = self.of(origin);
        PoolConfig::new()
            .max_connections_per_origin(cap)
            .max_connecting_per_origin(limits.max_connecting_per_origin)
            .discipline(self.discipline)
            .max_waiting(limits.max_waiting)
            .acquire_timeout(limits.acquire_timeout)
            .max_idle_per_origin(limits.max_idle_per_origin)
            .min_idle_per_origin(limits.min_idle_per_origin)
            .idle_timeout(Some(limits.idle_timeout))
            .keep_alive_hint_max(limits.keep_alive_hint_max)
            .max_lifetime(Some(limits.max_lifetime))
            .max_requests_per_connection(Some(limits.max_requests_per_connection))
            .drain_timeout(self.http2.drain_timeout)
    }
}
