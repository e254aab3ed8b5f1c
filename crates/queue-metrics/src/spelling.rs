//! How names and labels are written, and the one place that speaks to a recorder.

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};

use metrics::{Key, KeyName, Label, Level, Metadata, Recorder, SharedString};

use crate::histogram::Histogram;
use crate::names::{self, Kind, Metric};

static METADATA: Metadata<'static> =
    Metadata::new("tollgate::metrics", Level::INFO, Some(module_path!()));

/// Which convention names and labels follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Naming {
    /// `http_client_queued_requests{server_address="…"}`: [`Metric::name`](crate::names::Metric).
    #[default]
    Prometheus,
    /// `http.client.queued_requests{server.address="…"}`: [`Metric::otel`](crate::names::Metric).
    OpenTelemetry,
}

/// The spelling of a source's metrics.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spelling {
    pub(crate) prefix: Cow<'static, str>,
    pub(crate) naming: Naming,
    pub(crate) without: Vec<&'static str>,
}

impl Spelling {
    pub(crate) fn without(metrics: &[&Metric]) -> Self {
        Self {
            without: metrics.iter().map(|metric| metric.name).collect(),
            ..Self::default()
        }
    }

    pub(crate) fn has(&self, metric: &Metric) -> bool {
        !self.without.contains(&metric.name)
    }

    fn name(&self, metric: &Metric) -> KeyName {
        let name = match self.naming {
            Naming::Prometheus => metric.name,
            Naming::OpenTelemetry => metric.otel,
        };
        if self.prefix.is_empty() {
            // Borrowed: without a prefix a report allocates no names.
            KeyName::from_const_str(name)
        } else {
            KeyName::from(format!("{}{name}", self.prefix))
        }
    }

    fn label(&self, key: &'static str, value: SharedString) -> Label {
        let key = match (self.naming, key) {
            (Naming::OpenTelemetry, names::SERVER_ADDRESS) => "server.address",
            (Naming::OpenTelemetry, names::SERVER_PORT) => "server.port",
            (Naming::OpenTelemetry, names::STATE) => "http.connection.state",
            (Naming::OpenTelemetry, names::DNS_LABEL) => "dns.question.name",
            (Naming::OpenTelemetry, names::ERROR) => "error.type",
            (Naming::OpenTelemetry, names::METHOD) => "http.request.method",
            (Naming::OpenTelemetry, names::STATUS) => "http.response.status_code",
            (Naming::OpenTelemetry, names::VERSION) => "network.protocol.version",
            (_, key) => key,
        };
        Label::new(key, value)
    }
}

/// Describes metrics to each recorder once.
#[derive(Debug, Default)]
pub(crate) struct Described(AtomicUsize);

impl Described {
    pub(crate) fn once(&self, writer: &Writer<'_>, metrics: impl Iterator<Item = &'static Metric>) {
        // Only an identity: the address is never read through.
        let recorder = std::ptr::from_ref(writer.recorder).cast::<()>().addr();
        if self.0.swap(recorder, Ordering::Relaxed) != recorder {
            for metric in metrics.filter(|metric| writer.spelling.has(metric)) {
                writer.describe(metric);
            }
        }
    }
}

/// A label's name and its value.
pub(crate) type Extra = Option<(&'static str, &'static str)>;

/// Writes to a recorder, registering each series anew: handles that are kept go deaf when an
/// exporter drops their series, and those made before a recorder was installed always are.
pub(crate) struct Writer<'a> {
    recorder: &'a dyn Recorder,
    spelling: &'a Spelling,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(recorder: &'a dyn Recorder, spelling: &'a Spelling) -> Self {
        Self { recorder, spelling }
    }

    /// The labels of a source, or of a part of it.
    pub(crate) fn labels(&self, labels: &[(&'static str, SharedString)]) -> Labels<'_, 'a> {
        let label =
            |(key, value): &(&'static str, SharedString)| self.spelling.label(key, value.clone());
        Labels {
            writer: self,
            base: labels.iter().map(label).collect(),
        }
    }

    fn describe(&self, metric: &Metric) {
        let (name, unit) = (self.spelling.name(metric), Some(metric.unit));
        let description = SharedString::const_str(metric.description);
        match metric.kind {
            Kind::Gauge => self.recorder.describe_gauge(name, unit, description),
            Kind::Counter => self.recorder.describe_counter(name, unit, description),
            Kind::Histogram => self.recorder.describe_histogram(name, unit, description),
        }
    }
}

/// A writer and the labels of one source.
pub(crate) struct Labels<'w, 'a> {
    writer: &'w Writer<'a>,
    base: Vec<Label>,
}

impl Labels<'_, '_> {
    #[expect(clippy::cast_precision_loss, reason = "gauges stay far below 2^52")]
    pub(crate) fn gauge(&self, metric: &Metric, extra: Extra, value: u64) {
        if let Some(key) = self.key(metric, extra) {
            let gauge = self.writer.recorder.register_gauge(&key, &METADATA);
            gauge.set(value as f64);
        }
    }

    pub(crate) fn counter(&self, metric: &Metric, extra: Extra, value: u64) {
        if let Some(key) = self.key(metric, extra) {
            let counter = self.writer.recorder.register_counter(&key, &METADATA);
            counter.absolute(value);
        }
    }

    pub(crate) fn samples(
        &self,
        metric: &Metric,
        extra: Extra,
        histogram: &Histogram,
        budget: &mut u64,
    ) {
        if let Some(key) = self.key(metric, extra) {
            let handle = self.writer.recorder.register_histogram(&key, &METADATA);
            histogram.hand_over(&handle, budget);
        }
    }

    fn key(&self, metric: &Metric, extra: Extra) -> Option<Key> {
        let spelling = self.writer.spelling;
        let extra = extra.map(|(key, value)| spelling.label(key, SharedString::const_str(value)));
        // An omitted metric is not even registered: an exporter may show it as zero.
        spelling.has(metric).then(|| {
            let labels: Vec<Label> = self.base.iter().cloned().chain(extra).collect();
            Key::from_parts(spelling.name(metric), labels)
        })
    }
}
