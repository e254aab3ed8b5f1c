//! How a pool's numbers leave the atomics for a recorder.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use metrics::SharedString;
use tollgate_core::{CloseReason, ConnectErrorKind, ExchangeEnd, RefuseReason};

use crate::calls::Calls;
use crate::dns_series::{DnsSeries, RESULTS};
use crate::guard::Entry;
use crate::names::{self, Metric};
use crate::pool_metrics::PoolMetrics;
use crate::report::{Report, SLICE};
use crate::series::{OriginSeries, PHASES};
use crate::spelling::{Labels, Writer};

type Origin = Entry<OriginSeries>;
type Name = Entry<DnsSeries>;

impl PoolMetrics {
    /// The metrics that a `PoolMetrics` can emit.
    pub(crate) fn metrics() -> impl Iterator<Item = &'static Metric> {
        let own = |metric: &&Metric| !metric.name.starts_with("tower_");
        names::ALL.iter().filter(own)
    }

    /// Carries the numbers to the recorder that is installed now.
    ///
    /// Every series is registered anew, so it does not matter when a recorder is installed, and
    /// series that an exporter dropped for idleness come back. Call it every few seconds, by
    /// [`spawn_report`](crate::spawn_report), or before each scrape.
    pub fn report(&self) {
        Report::report(self);
    }

    fn origin_labels(&self, origin: &Origin) -> Vec<(&'static str, SharedString)> {
        let address = SharedString::from_shared(Arc::clone(&origin.name));
        let mut labels = self.pool_label();
        labels.push((names::SERVER_ADDRESS, address));
        labels.push((names::SERVER_PORT, origin.port.to_string().into()));
        labels
    }

    fn name_labels(&self, name: &Name) -> Vec<(&'static str, SharedString)> {
        let mut labels = self.pool_label();
        let name = SharedString::from_shared(Arc::clone(&name.name));
        labels.push((names::DNS_LABEL, name));
        labels
    }

    fn pool_label(&self) -> Vec<(&'static str, SharedString)> {
        let label = |pool| (names::POOL_LABEL, SharedString::from_shared(pool));
        self.pool.iter().cloned().map(label).collect()
    }

    /// Zero once there is nothing to go by any more: the last number would stay.
    fn recommended_for(&self, origin: &Origin) -> Option<u64> {
        let ever = &origin.series.recommended;
        match self.advice_for(origin) {
            Some(advice) => {
                ever.store(true, Relaxed);
                Some(advice.connections)
            }
            None => ever.load(Relaxed).then_some(0),
        }
    }

    fn calls(&self, origin: &Origin, writer: &Writer<'_>, budget: &mut u64) {
        let series = &origin.series;
        self.by_kind(
            origin,
            &names::REQUEST_DURATION,
            &series.calls,
            writer,
            budget,
        );
        if let Some(sizes) = series.sizes.get() {
            let (sent, received) = (&sizes.sent, &sizes.received);
            self.by_kind(origin, &names::REQUEST_BODY_SIZE, sent, writer, budget);
            self.by_kind(origin, &names::RESPONSE_BODY_SIZE, received, writer, budget);
        }
    }

    fn by_kind(
        &self,
        origin: &Origin,
        metric: &Metric,
        calls: &Calls,
        writer: &Writer<'_>,
        budget: &mut u64,
    ) {
        let base = self.origin_labels(origin);
        for (kind, samples) in calls.all() {
            let own = [
                (names::METHOD, Some(kind.method.into())),
                (
                    names::STATUS,
                    kind.status.map(|s| s.as_str().to_owned().into()),
                ),
                (names::ERROR, kind.error().map(|e| e.to_owned().into())),
                (names::VERSION, kind.version.map(Into::into)),
            ];
            let own = own
                .into_iter()
                .filter_map(|(key, value)| Some((key, value?)));
            let labels: Vec<_> = base.iter().cloned().chain(own).collect();
            let to = writer.labels(&labels);
            to.samples(metric, None, samples, budget);
        }
    }

    fn origin_gauges(&self, origin: &Origin, to: &Labels<'_, '_>) {
        let series = &origin.series;
        let (active, idle) = series.active_and_idle();
        to.gauge(
            &names::OPEN_CONNECTIONS,
            Some((names::STATE, "active")),
            active,
        );
        to.gauge(&names::OPEN_CONNECTIONS, Some((names::STATE, "idle")), idle);
        to.gauge(&names::CONNECTIONS_OPENING, None, series.opening.get());
        to.gauge(&names::CONNECTIONS_DRAINING, None, series.draining.get());
        if let Some(limit) = self.limit_of(origin).or_else(|| series.limit.none()) {
            let requests = self.requests_limit_of(origin).unwrap_or(0);
            to.gauge(&names::CONNECTIONS_LIMIT, None, limit);
            to.gauge(&names::REQUESTS_LIMIT, None, requests);
        }
        // Not computed where it is omitted: it loops over the load, and every look is remembered.
        if self.spelling.has(&names::CONNECTIONS_RECOMMENDED)
            && let Some(connections) = self.recommended_for(origin)
        {
            to.gauge(&names::CONNECTIONS_RECOMMENDED, None, connections);
        }
        to.gauge(&names::ACTIVE_REQUESTS, None, series.in_flight.get());
        to.gauge(&names::QUEUED_REQUESTS, None, series.queued.len());
        to.gauge(
            &names::QUEUED_REQUESTS_PEAK,
            None,
            series.queued.report_peak(),
        );
        to.gauge(
            &names::QUEUED_REQUESTS_FOR_DIAL,
            None,
            series.dialling.get(),
        );
    }
}

fn origin_counters(series: &OriginSeries, to: &Labels<'_, '_>) {
    to.counter(
        &names::CONNECTIONS_OPENED,
        None,
        series.opened.load(Relaxed),
    );
    to.counter(
        &names::CONNECTIONS_REUSED,
        None,
        series.reused.load(Relaxed),
    );
    to.counter(&names::QUEUE_ORDER_TURNS, None, series.turns.load(Relaxed));
    for (end, count) in ExchangeEnd::ALL.iter().zip(series.exchanges.get()) {
        to.counter(&names::EXCHANGES, Some(("end", end.label())), count);
    }
    to.counter(&names::REQUESTS_RETRIED, None, series.retried.load(Relaxed));
    // Zeros as well: `rate` misses the first refusal of a series that was not there before it.
    for (reason, count) in RefuseReason::ALL.iter().zip(series.refused.get()) {
        to.counter(
            &names::QUEUE_REJECTIONS,
            Some(("reason", reason.label())),
            count,
        );
    }
    for (reason, count) in CloseReason::ALL.iter().zip(series.closed.get()) {
        to.counter(
            &names::CONNECTIONS_CLOSED,
            Some(("reason", reason.label())),
            count,
        );
    }
    for (kind, count) in ConnectErrorKind::ALL
        .iter()
        .zip(series.connect_errors.get())
    {
        to.counter(
            &names::CONNECT_ERRORS,
            Some((names::ERROR, kind.label())),
            count,
        );
    }
}

impl Report for PoolMetrics {
    fn report_values(&self) {
        metrics::with_recorder(|recorder| {
            let writer = Writer::new(recorder, &self.spelling);
            self.described.once(&writer, Self::metrics());
            for origin in self.origins.all() {
                let to = writer.labels(&self.origin_labels(&origin));
                self.origin_gauges(&origin, &to);
                origin_counters(&origin.series, &to);
            }
            for name in self.names.all() {
                let to = writer.labels(&self.name_labels(&name));
                for (result, count) in RESULTS.into_iter().zip(name.series.results.get()) {
                    to.counter(&names::DNS_CACHE_REQUESTS, Some(("result", result)), count);
                }
            }
            let overflowed = self.origins.overflowed();
            let to = writer.labels(&self.pool_label());
            to.gauge(&names::ORIGINS_OVERFLOWED, None, overflowed);
        });
    }

    fn report_samples(&self) -> bool {
        let mut budget = SLICE;
        metrics::with_recorder(|recorder| {
            let writer = Writer::new(recorder, &self.spelling);
            for origin in self.origins.all() {
                let to = writer.labels(&self.origin_labels(&origin));
                origin_samples(&origin.series, &to, &mut budget);
                self.calls(&origin, &writer, &mut budget);
            }
            for name in self.names.all() {
                let to = writer.labels(&self.name_labels(&name));
                name_samples(&name.series, &to, &mut budget);
            }
        });
        budget == 0
    }
}

fn origin_samples(series: &OriginSeries, to: &Labels<'_, '_>, budget: &mut u64) {
    to.samples(&names::TIME_IN_QUEUE, None, &series.waits, budget);
    to.samples(&names::TIME_FOR_DIAL, None, &series.dial_waits, budget);
    to.samples(&names::CONNECTION_USE, None, &series.uses, budget);
    to.samples(&names::CONNECTION_DURATION, None, &series.lifetimes, budget);
    for (phase, histogram) in PHASES.into_iter().zip(&series.phases) {
        to.samples(
            &names::CONNECT_DURATION,
            Some(("phase", phase)),
            histogram,
            budget,
        );
    }
}

fn name_samples(series: &DnsSeries, to: &Labels<'_, '_>, budget: &mut u64) {
    to.samples(&names::DNS_LOOKUP_DURATION, None, &series.answered, budget);
    for (error, histogram) in series.failed() {
        let error = Some((names::ERROR, error));
        to.samples(&names::DNS_LOOKUP_DURATION, error, &histogram, budget);
    }
}
