//! The options of a pool's metrics: which, and under which names.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::sync::Arc;

use tollgate_core::Origin;

use crate::names::{self, Metric};
use crate::pool_metrics::PoolMetrics;
use crate::spelling::Naming;

/// Options.
impl PoolMetrics {
    /// Adds the label `pool` to every series: needed where a process has several pools.
    #[must_use]
    pub fn pool(mut self, name: impl Into<Arc<str>>) -> Self {
        self.pool = Some(name.into());
        self
    }

    /// Puts `prefix` before every name.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<Cow<'static, str>>) -> Self {
        self.spelling.prefix = prefix.into();
        self
    }

    /// Sets the convention of names and labels; default [`Naming::Prometheus`].
    #[must_use]
    pub fn naming(mut self, naming: Naming) -> Self {
        self.spelling.naming = naming;
        self
    }

    /// Omits a metric, for instance because something else in the process emits it.
    #[must_use]
    pub fn without(mut self, metric: &Metric) -> Self {
        self.spelling.without.push(metric.name);
        self
    }

    /// Adds [`names::CONNECTION_DURATION`], which knows a connection only once it is closed and so
    /// does not show those that live long.
    #[must_use]
    pub fn with_connection_duration(self) -> Self {
        self.with_metric(&names::CONNECTION_DURATION)
    }

    /// Adds [`names::REQUEST_BODY_SIZE`] and [`names::RESPONSE_BODY_SIZE`], of the calls of a
    /// `tollgate::Client` that is built with these metrics as its observer: a few allocations a call.
    ///
    /// They count the bytes that were really sent and read, as they are encoded, without HTTP's framing:
    /// none of an answer to HEAD, whatever its `Content-Length`, and of a body that broke off what had
    /// come. Each has as many series as [`names::REQUEST_DURATION`].
    #[must_use]
    pub fn with_body_sizes(self) -> Self {
        self.with_metric(&names::REQUEST_BODY_SIZE)
            .with_metric(&names::RESPONSE_BODY_SIZE)
    }

    /// Adds [`names::CONNECTIONS_RECOMMENDED`]: the number of [`advise`](Self::advise) at each report,
    /// and zero where there was enough load for advice and is not any more.
    #[must_use]
    pub fn with_recommendation(self) -> Self {
        self.with_metric(&names::CONNECTIONS_RECOMMENDED)
    }

    fn with_metric(mut self, opted_in: &Metric) -> Self {
        self.spelling.without.retain(|name| *name != opted_in.name);
        self
    }

    /// Sets the most origins, and the most names in the DNS, with series of their own; default
    /// [`MAX_ORIGINS`](crate::MAX_ORIGINS). The rest share `server_address="_other"`. Origins keep
    /// their series for as long as the process lives, since a counter that began again would be
    /// read as wrong.
    #[must_use]
    pub fn max_origins(mut self, max: NonZeroUsize) -> Self {
        self.max_origins = max.get();
        self
    }

    /// Sets the value of `server_address` for an origin; default its host. Origins of one name and
    /// port share their series:
    ///
    /// ```
    /// # use tollgate_queue_metrics::PoolMetrics;
    /// let metrics = PoolMetrics::new().group_by(|origin| match origin.host() {
    ///     host if host.ends_with(".s3.amazonaws.com") => "*.s3.amazonaws.com".into(),
    ///     host => host.into(),
    /// });
    /// ```
    #[must_use]
    pub fn group_by<F>(mut self, group: F) -> Self
    where
        F: Fn(&Origin) -> Cow<'_, str> + Send + Sync + 'static,
    {
        self.group = Some(Box::new(group));
        self
    }

    /// Reports `limit` connections for every origin, and every group, whose limit neither its pool's
    /// events report, as those of Tollgate's do, nor [`set_limit`](PoolMetrics::set_limit).
    #[must_use]
    pub fn connections_limit(mut self, limit: usize) -> Self {
        self.default_limit = limit as u64;
        self
    }
}
