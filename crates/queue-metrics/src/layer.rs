//! The layer that measures a service, and its options.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use metrics::SharedString;
use tower_layer::Layer;

use crate::measure::{BodyEnd, Head};
use crate::names::{self, Metric};
use crate::report::{Report, SLICE};
use crate::service::QueueMetrics;
use crate::service_series::{OUTCOMES, ServiceSeries};
use crate::snapshot::ServiceStats;
use crate::spelling::{Described, Naming, Spelling, Writer};

/// Measures any service: who waits in `poll_ready`, what is in flight, how it ends.
///
/// All services that one layer and its clones make are counted together, under the layer's name.
/// Two layers of one name write over each other's gauges.
pub struct QueueMetricsLayer<U = BodyEnd> {
    series: Arc<ServiceSeries>,
    described: Arc<Described>,
    spelling: Spelling,
    until: PhantomData<fn() -> U>,
}

impl QueueMetricsLayer {
    /// Measures services whose response is an [`http::Response`], to the end of its body, under
    /// `service="name"`.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            series: Arc::new(ServiceSeries::new(name.into())),
            described: Arc::default(),
            spelling: Spelling::default(),
            until: PhantomData,
        }
    }
}

impl<U> QueueMetricsLayer<U> {
    /// Measures until the response is there: for responses of any other type, or where bodies are
    /// not of interest.
    #[must_use]
    pub fn until_head(self) -> QueueMetricsLayer<Head> {
        self.until()
    }

    /// Measures as [`MeasureUntil`](crate::MeasureUntil) is implemented for `V`.
    #[must_use]
    pub fn until<V>(self) -> QueueMetricsLayer<V> {
        QueueMetricsLayer {
            series: self.series,
            described: self.described,
            spelling: self.spelling,
            until: PhantomData,
        }
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

    /// Omits a metric.
    #[must_use]
    pub fn without(mut self, metric: &Metric) -> Self {
        self.spelling.without.push(metric.name);
        self
    }

    /// Returns the counts, without any recorder.
    pub fn snapshot(&self) -> ServiceStats {
        let series = &self.series;
        let [ok, error, cancelled] = series.outcomes.get();
        ServiceStats {
            service: series.name.to_string(),
            queued: series.queued.len(),
            queued_peak: series.queued.peak(),
            in_flight: series.in_flight.get(),
            ok,
            error,
            cancelled,
            waits: series.waits.distribution(),
            durations: series.durations.distribution(),
        }
    }

    /// The metrics that this layer can emit.
    fn metrics() -> impl Iterator<Item = &'static Metric> {
        let own = |metric: &&Metric| metric.name.starts_with("tower_");
        names::ALL.iter().filter(own)
    }

    fn labels(&self) -> [(&'static str, SharedString); 1] {
        let name = SharedString::from_shared(Arc::clone(&self.series.name));
        [(names::SERVICE_LABEL, name)]
    }
}

impl<U: 'static> QueueMetricsLayer<U> {
    /// Carries the numbers to the recorder that is installed now, as
    /// [`PoolMetrics::report`](crate::PoolMetrics::report) does.
    pub fn report(&self) {
        Report::report(self);
    }
}

impl<U: 'static> Report for QueueMetricsLayer<U> {
    fn report_values(&self) {
        let series = &self.series;
        metrics::with_recorder(|recorder| {
            let writer = Writer::new(recorder, &self.spelling);
            self.described.once(&writer, Self::metrics());
            let to = writer.labels(&self.labels());
            to.gauge(&names::SERVICE_QUEUED_REQUESTS, None, series.queued.len());
            let peak = series.queued.report_peak();
            to.gauge(&names::SERVICE_QUEUED_REQUESTS_PEAK, None, peak);
            to.gauge(
                &names::SERVICE_ACTIVE_REQUESTS,
                None,
                series.in_flight.get(),
            );
            for (outcome, count) in OUTCOMES.into_iter().zip(series.outcomes.get()) {
                to.counter(&names::SERVICE_REQUESTS, Some(("outcome", outcome)), count);
            }
        });
    }

    fn report_samples(&self) -> bool {
        let mut budget = SLICE;
        metrics::with_recorder(|recorder| {
            let writer = Writer::new(recorder, &self.spelling);
            let to = writer.labels(&self.labels());
            let (waits, durations) = (&self.series.waits, &self.series.durations);
            to.samples(&names::SERVICE_TIME_IN_QUEUE, None, waits, &mut budget);
            to.samples(
                &names::SERVICE_REQUEST_DURATION,
                None,
                durations,
                &mut budget,
            );
        });
        budget == 0
    }
}

impl<S, U> Layer<S> for QueueMetricsLayer<U> {
    type Service = QueueMetrics<S, U>;

    fn layer(&self, inner: S) -> Self::Service {
        QueueMetrics::new(inner, Arc::clone(&self.series))
    }
}

// By hand: a derive would ask for `U: Clone`.
impl<U> Clone for QueueMetricsLayer<U> {
    fn clone(&self) -> Self {
        Self {
            series: Arc::clone(&self.series),
            described: Arc::clone(&self.described),
            spelling: self.spelling.clone(),
            until: PhantomData,
        }
    }
}

impl<U> fmt::Debug for QueueMetricsLayer<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueMetricsLayer")
            .field("service", &self.series.name)
            .finish_non_exhaustive()
    }
}
