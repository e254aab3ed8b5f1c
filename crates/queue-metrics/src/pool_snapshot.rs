//! What was counted of a pool, and what follows from it, as plain values.

use std::sync::atomic::Ordering::Relaxed;

use tokio::time::Instant;
use tollgate_core::{CloseReason, ConnectErrorKind, ExchangeEnd, RefuseReason};

use crate::advice::{Advice, advise};
use crate::dns_series::{DnsSeries, RESULTS};
use crate::guard::{Entry, OTHER};
use crate::pool_metrics::PoolMetrics;
use crate::series::OriginSeries;
use crate::snapshot::{NameStats, OriginStats, PoolSnapshot, counted};

type Origin = Entry<OriginSeries>;
type Name = Entry<DnsSeries>;

impl PoolMetrics {
    /// Returns the counts, without any recorder.
    pub fn snapshot(&self) -> PoolSnapshot {
        let (origins, names) = (self.origins.all(), self.names.all());
        PoolSnapshot {
            origins: origins
                .iter()
                .map(|origin| self.origin_stats(origin))
                .collect(),
            names: names.iter().map(|name| name_stats(name)).collect(),
            origins_overflowed: self.origins.overflowed(),
        }
    }

    fn origin_stats(&self, origin: &Origin) -> OriginStats {
        let series = &origin.series;
        let (active, idle) = series.active_and_idle();
        let reused = series.reused.load(Relaxed);
        OriginStats {
            server_address: origin.name.to_string(),
            server_port: origin.port,
            limit: self.limit_of(origin),
            requests_limit: self
                .limit_of(origin)
                .map(|limit| limit * series.each_carries()),
            // Not read once more: it is to be their sum also while connections open.
            open: active + idle,
            active,
            idle,
            in_flight: series.in_flight.get(),
            connecting: series.opening.get(),
            draining: series.draining.get(),
            queued: series.queued.len(),
            queued_peak: series.queued.peak(),
            queued_for_dial: series.dialling.get(),
            order_turns: series.turns.load(Relaxed),
            granted: reused + series.fresh.load(Relaxed),
            reused,
            refused: counted(RefuseReason::ALL, &series.refused.get()),
            exchanges: counted(ExchangeEnd::ALL, &series.exchanges.get()),
            opened: series.opened.load(Relaxed),
            closed: counted(CloseReason::ALL, &series.closed.get()),
            connect_failed: counted(ConnectErrorKind::ALL, &series.connect_errors.get()),
            retried: series.retried.load(Relaxed),
            waits: series.waits.distribution(),
            dial_waits: series.dial_waits.distribution(),
            uses: series.uses.distribution(),
        }
    }

    pub(crate) fn limit_of(&self, origin: &Origin) -> Option<u64> {
        let series = &origin.series;
        // The default is for one origin, and `_other` stands for many.
        let default = if &*origin.name == OTHER {
            0
        } else {
            self.default_limit
        };
        let sources = [series.limit.get(), default];
        sources.into_iter().find(|limit| *limit > 0)
    }

    /// Returns the number of connections `origin` needs, from its load in the last five minutes, or
    /// since the last look if that is longer ago. Looks that are ten seconds apart, and reports if
    /// they are to [recommend](Self::with_recommendation), leave something to compare the next
    /// with.
    ///
    /// `None` before there are two such looks, from fewer than 1,000 requests, where most that were
    /// taken up have not ended, and for an origin without series of its own. Nothing follows the
    /// advice by itself.
    ///
    /// ```
    /// # use tollgate_queue_metrics::PoolMetrics;
    /// # let metrics = PoolMetrics::new();
    /// if let Some(advice) = metrics.advise(&"https://billing.internal".parse()?) {
    ///     println!("{} connections: {:?}", advice.connections, advice.verdict);
    /// }
    /// # Ok::<_, tollgate_core::ParseOriginError>(())
    /// ```
    pub fn advise(&self, origin: &tollgate_core::Origin) -> Option<Advice> {
        let found = self.origins.find(&self.name_of(origin), origin.port())?;
        self.advice_for(&found)
    }

    pub(crate) fn advice_for(&self, origin: &Origin) -> Option<Advice> {
        let series = &origin.series;
        // Before the look, so that what ends after it is measured against the room there is now.
        series.load.set_room(self.requests_limit_of(origin));
        let (span, totals) = series.load.lately(Instant::now(), series.totals())?;
        advise(&totals, span, self.limit_of(origin), series.each_carried())
    }

    /// The limit in requests.
    pub(crate) fn requests_limit_of(&self, origin: &Origin) -> Option<u64> {
        let each = origin.series.each_carries();
        self.limit_of(origin)
            .map(|limit| limit.saturating_mul(each))
    }
}

fn name_stats(name: &Name) -> NameStats {
    let failed = name.series.failed();
    NameStats {
        name: name.name.to_string(),
        results: counted(&RESULTS, &name.series.results.get()),
        answered: name.series.answered.distribution(),
        failed: failed
            .iter()
            .map(|(word, times)| (*word, times.distribution()))
            .collect(),
    }
}
