//! The observer that counts the events of pools, resolvers and dials.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tollgate_core::{Event, Observer, Origin};

use crate::calls::Kind;
use crate::dns_series::DnsSeries;
use crate::guard::{Found, Guard};
use crate::names::{self};
use crate::resolved::Resolved;
use crate::series::OriginSeries;
use crate::spelling::{Described, Spelling};

/// The most origins with series of their own: at some 9 KiB each a scrape is a page of 900 KiB.
pub const MAX_ORIGINS: NonZeroUsize = NonZeroUsize::new(100).expect("is not zero");

/// The most origins whose group is remembered.
const MAX_RESOLVED: usize = 1024;

/// Counts the events of pools, resolvers and dials, per origin, and reports the numbers.
///
/// Events move relaxed atomics and nothing else: no allocation, no clock, no recorder. A
/// [`report`](PoolMetrics::report) carries the numbers to whatever recorder is installed then;
/// [`snapshot`](PoolMetrics::snapshot) reads them without one.
///
/// Two pools whose metrics have the same labels write over each other's gauges: give each a name
/// with [`pool`](PoolMetrics::pool), or share one `PoolMetrics`.
///
/// ```
/// use std::sync::Arc;
/// use tollgate_core::{Event, Observer, Origin};
/// use tollgate_queue_metrics::PoolMetrics;
///
/// let metrics = Arc::new(PoolMetrics::new().connections_limit(128));
/// // Hand `metrics.clone()` to a pool as its observer; here we are the pool:
/// let origin: Origin = "https://billing.internal".parse()?;
/// metrics.on_event(&Event::Queued { origin: &origin, ahead: 0 });
///
/// assert_eq!(metrics.snapshot().origins[0].queued, 1);
/// println!("{}", metrics.snapshot());
/// metrics.report();
/// # Ok::<_, tollgate_core::ParseOriginError>(())
/// ```
pub struct PoolMetrics {
    pub(crate) spelling: Spelling,
    pub(crate) described: Described,
    pub(crate) pool: Option<Arc<str>>,
    pub(crate) default_limit: u64,
    pub(crate) origins: Guard<OriginSeries>,
    pub(crate) names: Guard<DnsSeries>,
    resolved: Resolved<OriginSeries>,
    pub(crate) max_origins: usize,
    pub(crate) group: Option<Group>,
}

pub(crate) type Group = Box<dyn Fn(&Origin) -> Cow<'_, str> + Send + Sync>;

impl Default for PoolMetrics {
    fn default() -> Self {
        Self::new()
    }
}

impl PoolMetrics {
    /// Metrics of [`MAX_ORIGINS`] origins, under the names of [`names`].
    pub fn new() -> Self {
        Self {
            spelling: Spelling::without(&[
                &names::CONNECTION_DURATION,
                &names::CONNECTIONS_RECOMMENDED,
                &names::REQUEST_BODY_SIZE,
                &names::RESPONSE_BODY_SIZE,
            ]),
            described: Described::default(),
            pool: None,
            default_limit: 0,
            origins: Guard::default(),
            names: Guard::default(),
            resolved: Resolved::default(),
            max_origins: MAX_ORIGINS.get(),
            group: None,
        }
    }

    /// Reports `limit` connections for this origin, whatever its pool reports, and for the whole of
    /// its group if it is in one. Its series appear with it. An origin beyond the
    /// [maximum](PoolMetrics::max_origins) has none, and nothing is reported. 0 takes it back.
    pub fn set_limit(&self, origin: &Origin, limit: usize) {
        if let Found::Own(entry) = self.find_or_add(origin) {
            entry.series.limit.tell(limit as u64);
        }
    }

    fn with<R>(&self, origin: &Origin, with: impl Fn(&OriginSeries) -> R) -> R {
        match self.resolved.with(origin, &with) {
            Some(done) => done,
            None => self.resolve(origin, with),
        }
    }

    fn find_or_add(&self, origin: &Origin) -> Found<OriginSeries> {
        // The function may be the user's: no lock is held yet.
        let name = self.name_of(origin);
        self.origins
            .find_or_add(&name, origin.port(), self.max_origins)
    }

    /// Returns the value of `server_address` for an origin.
    pub(crate) fn name_of<'a>(&self, origin: &'a Origin) -> Cow<'a, str> {
        match &self.group {
            Some(group) => group(origin),
            None => origin.host().into(),
        }
    }

    #[cold]
    fn resolve<R>(&self, origin: &Origin, with: impl Fn(&OriginSeries) -> R) -> R {
        match self.find_or_add(origin) {
            Found::Own(entry) => {
                let done = with(&entry.series);
                let max = MAX_RESOLVED.max(2 * self.max_origins);
                self.resolved.remember(origin, entry, max);
                done
            }
            // Not remembered: origins beyond the maximum have no bound, and would fill the table.
            Found::Other(entry) => with(&entry.series),
        }
    }

    /// Counts the end of a call, or of its bodies.
    fn called(&self, event: &Event<'_>) {
        match *event {
            Event::CallEnded {
                origin,
                method,
                answer,
                error,
                elapsed,
            } => {
                let kind = Kind::new(method, answer, error);
                self.with(origin, |s| s.calls.ended(kind, elapsed));
            }
            // Another observer beside this one may have asked for it.
            Event::BodiesEnded {
                origin,
                method,
                answer,
                error,
                sent,
                received,
            } if self.observes_bodies() => {
                let kind = Kind::new(method, answer, error);
                self.with(origin, |s| s.bodies_ended(kind, sent, received));
            }
            _ => {}
        }
    }

    /// Counts what changes from one level to another.
    fn changed(&self, event: &Event<'_>) {
        match *event {
            Event::DiallingChanged { origin, from, to } => {
                self.with(origin, |s| s.dialling.shift(from, to));
            }
            Event::OrderChanged { origin, to, .. } => self.with(origin, |s| s.order_changed(to)),
            Event::LimitChanged { origin, from, to } => {
                self.with(origin, |s| s.limit.shift(from, to));
            }
            Event::DrainingChanged { origin, from, to } => {
                self.with(origin, |s| s.draining.shift(from, to));
            }
            Event::StreamsChanged { origin, from, to } => {
                self.with(origin, |s| s.streams.shift(from, to));
            }
            // An event newer than this crate has no metric yet.
            _ => {}
        }
    }

    fn with_name(&self, name: &str, with: impl FnOnce(&DnsSeries)) {
        match self.names.find_or_add(name, 0, self.max_origins) {
            Found::Own(entry) | Found::Other(entry) => with(&entry.series),
        }
    }
}

impl Observer for PoolMetrics {
    fn on_event(&self, event: &Event<'_>) {
        match *event {
            Event::Queued { origin, .. } => {
                self.with(origin, |s| s.queued.enter());
            }
            Event::Granted {
                origin,
                waited,
                dial,
                reused,
            } => self.with(origin, |s| s.granted(waited, dial, reused)),
            Event::Refused {
                origin,
                reason,
                waited,
                dial,
            } => self.with(origin, |s| s.refused(reason, waited, dial)),
            Event::Released { origin, held, end } => {
                self.with(origin, |s| s.released(held, end));
            }
            Event::CallEnded { .. } | Event::BodiesEnded { .. } => self.called(event),
            Event::Retried { origin, .. } => {
                self.with(origin, |s| s.retried.fetch_add(1, Relaxed));
            }
            Event::ConnectStarted { origin } => self.with(origin, OriginSeries::connect_started),
            Event::Opened {
                origin,
                dial,
                elapsed,
                ..
            } => self.with(origin, |s| s.opened(dial, elapsed)),
            Event::ConnectFailed { origin, kind, .. } => {
                self.with(origin, |s| s.connect_failed(kind));
            }
            Event::Closed {
                origin,
                reason,
                age,
                ..
            } => self.with(origin, |s| s.closed(reason, age)),
            Event::DnsLookup {
                name,
                elapsed,
                error,
            } => self.with_name(name, |s| s.lookup(elapsed, error)),
            Event::DnsCache { name, result } => self.with_name(name, |s| s.cache(result)),
            _ => self.changed(event),
        }
    }

    fn observes_bodies(&self) -> bool {
        let sizes = [&names::REQUEST_BODY_SIZE, &names::RESPONSE_BODY_SIZE];
        sizes.into_iter().any(|metric| self.spelling.has(metric))
    }
}

impl fmt::Debug for PoolMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolMetrics")
            .field("pool", &self.pool)
            .field("naming", &self.spelling.naming)
            .finish_non_exhaustive()
    }
}
