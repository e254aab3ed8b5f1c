//! What the tests share: a recorder to look into, and a pool that tells legal events.
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::BTreeMap;
use std::time::Duration;

use http::{Method, StatusCode, Version};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tollgate_core::{
    CloseReason, ConnectErrorKind, DialInfo, Event, ExchangeEnd, Observer, Origin, RefuseReason,
};

use tollgate_queue_metrics::names;

/// The labels that series have besides those in the table.
pub(crate) const LABELS_OF_ALL: [&str; 5] = [
    names::SERVER_ADDRESS,
    names::SERVER_PORT,
    names::DNS_LABEL,
    names::SERVICE_LABEL,
    names::POOL_LABEL,
];

/// A recorder, and what was written to each series of it.
pub(crate) struct Recorder {
    pub(crate) recorder: DebuggingRecorder,
    snapshotter: Snapshotter,
}

/// Series as `name{key="value",…}`, keys in order.
pub(crate) type Series = BTreeMap<String, f64>;

impl Recorder {
    pub(crate) fn new() -> Self {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        Self {
            recorder,
            snapshotter,
        }
    }

    pub(crate) fn run<R>(&self, run: impl FnOnce() -> R) -> R {
        metrics::with_local_recorder(&self.recorder, run)
    }

    /// Everything that was written since the last look, histograms as `name_count` and `name_sum`;
    /// what was not written since reads as zero.
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    pub(crate) fn series(&self) -> Series {
        let mut series = Series::new();
        for (key, _, _, value) in self.snapshotter.snapshot().into_vec() {
            let (_, key) = key.into_parts();
            let (name, labels) = (key.name(), labels(&key));
            match value {
                DebugValue::Counter(value) => {
                    series.insert(format!("{name}{labels}"), value as f64);
                }
                DebugValue::Gauge(value) => {
                    series.insert(format!("{name}{labels}"), value.0);
                }
                DebugValue::Histogram(values) => {
                    let sum = values.iter().map(|value| value.0).sum();
                    series.insert(format!("{name}_sum{labels}"), sum);
                    series.insert(format!("{name}_count{labels}"), values.len() as f64);
                }
            }
        }
        series
    }

    /// How often each metric was described, and with what unit.
    pub(crate) fn descriptions(&self) -> BTreeMap<String, (Option<metrics::Unit>, String)> {
        let all = self.snapshotter.snapshot().into_vec().into_iter();
        let described = all.filter_map(|(key, unit, text, _)| {
            let name = key.key().name().to_owned();
            text.map(|text| (name, (unit, text.to_string())))
        });
        described.collect()
    }
}

fn labels(key: &metrics::Key) -> String {
    let mut labels: Vec<_> = key
        .labels()
        .map(|label| format!("{}=\"{}\"", label.key(), label.value()))
        .collect();
    labels.sort();
    if labels.is_empty() {
        return String::new();
    }
    format!("{{{}}}", labels.join(","))
}

pub(crate) fn origin(text: &str) -> Origin {
    text.parse().expect("an origin")
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Tells an observer of one origin.
pub(crate) struct Tell<'a, O> {
    pub(crate) observer: &'a O,
    pub(crate) origin: Origin,
}

impl<O: Observer> Tell<'_, O> {
    pub(crate) fn queued(&self, ahead: usize) {
        let origin = &self.origin;
        self.observer.on_event(&Event::Queued { origin, ahead });
    }

    pub(crate) fn granted(&self, waited: Duration, reused: bool) {
        self.observer.on_event(&Event::Granted {
            origin: &self.origin,
            waited,
            dial: Duration::ZERO,
            reused,
        });
    }

    /// As `granted`, after waiting for nothing but a dial of its own.
    pub(crate) fn granted_by_dial(&self, dial: Duration) {
        let origin = &self.origin;
        let dialling = |from, to| Event::DiallingChanged { origin, from, to };
        self.observer.on_event(&dialling(0, 1));
        self.observer.on_event(&dialling(1, 0));
        self.observer.on_event(&Event::Granted {
            origin,
            waited: dial,
            dial,
            reused: false,
        });
    }

    pub(crate) fn refused(&self, reason: RefuseReason, waited: Duration) {
        self.observer.on_event(&Event::Refused {
            origin: &self.origin,
            reason,
            waited,
            dial: Duration::ZERO,
        });
    }

    pub(crate) fn released(&self, held: Duration) {
        self.ended(held, ExchangeEnd::Whole);
    }

    pub(crate) fn ended(&self, held: Duration, end: ExchangeEnd) {
        let origin = &self.origin;
        self.observer
            .on_event(&Event::Released { origin, held, end });
    }

    pub(crate) fn call_ended(&self, status: Option<u16>, error: Option<&'static str>) {
        let status = status.map(|status| StatusCode::from_u16(status).expect("a status"));
        self.observer.on_event(&Event::CallEnded {
            origin: &self.origin,
            method: &Method::GET,
            answer: status.map(|status| (status, Version::HTTP_11)),
            error,
            elapsed: ms(20),
        });
    }

    pub(crate) fn bodies_ended(
        &self,
        status: Option<u16>,
        error: Option<&'static str>,
        sent: u64,
        received: Option<u64>,
    ) {
        let status = status.map(|status| StatusCode::from_u16(status).expect("a status"));
        self.observer.on_event(&Event::BodiesEnded {
            origin: &self.origin,
            method: &Method::GET,
            answer: status.map(|status| (status, Version::HTTP_11)),
            error,
            sent,
            received,
        });
    }

    pub(crate) fn retried(&self, attempt: u32) {
        let origin = &self.origin;
        self.observer.on_event(&Event::Retried { origin, attempt });
    }

    pub(crate) fn connect_started(&self) {
        let origin = &self.origin;
        self.observer.on_event(&Event::ConnectStarted { origin });
    }

    pub(crate) fn opened(&self, connection: u64, elapsed: Duration) {
        let mut dial = DialInfo::default();
        dial.dns = Some(elapsed / 4);
        dial.connect = Some(elapsed / 2);
        dial.tls = Some(elapsed / 4);
        self.observer.on_event(&Event::Opened {
            origin: &self.origin,
            connection,
            dial: &dial,
            elapsed,
        });
    }

    pub(crate) fn connect_failed(&self, kind: ConnectErrorKind) {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        self.observer.on_event(&Event::ConnectFailed {
            origin: &self.origin,
            kind,
            error: &std::io::Error::other(refused),
            elapsed: ms(3),
        });
    }

    pub(crate) fn closed(&self, connection: u64, reason: CloseReason) {
        self.observer.on_event(&Event::Closed {
            origin: &self.origin,
            connection,
            reason,
            age: ms(30_000),
            served: 7,
        });
    }
}

pub(crate) fn dns_lookup(observer: &impl Observer, name: &str, error: Option<&'static str>) {
    observer.on_event(&Event::DnsLookup {
        name,
        elapsed: ms(12),
        error,
    });
}

pub(crate) fn dns_cache(observer: &impl Observer, name: &str, result: &'static str) {
    observer.on_event(&Event::DnsCache { name, result });
}

/// One of everything, on one origin, after which all gauges but those of one connection are zero.
pub(crate) fn one_of_everything(observer: &impl Observer) {
    let tell = Tell {
        observer,
        origin: origin("https://billing.test"),
    };
    dns_cache(observer, "billing.test", "miss");
    dns_lookup(observer, "billing.test", None);
    dns_lookup(observer, "billing.test", Some("not_found"));
    tell.queued(0);
    tell.connect_started();
    tell.opened(1, ms(40));
    tell.granted_by_dial(ms(40));
    tell.refused(RefuseReason::QueueFull, Duration::ZERO);
    tell.released(ms(100));
    tell.call_ended(Some(200), None);
    tell.bodies_ended(Some(200), None, 0, Some(4_096));
    tell.granted(Duration::ZERO, true);
    tell.retried(2);
    tell.released(ms(20));
    tell.call_ended(Some(503), None);
    tell.bodies_ended(Some(503), None, 512, Some(0));
    tell.call_ended(None, Some("connect_refused"));
    tell.bodies_ended(None, Some("connect_refused"), 0, None);
    tell.connect_started();
    tell.connect_failed(ConnectErrorKind::Refused);
    tell.connect_started();
    tell.opened(2, ms(8));
    tell.closed(2, CloseReason::PeerClose);
}

/// Enough requests, each served for a while, that something can be recommended from them once time
/// has passed.
pub(crate) fn a_thousand_requests(observer: &impl Observer) {
    let tell = Tell {
        observer,
        origin: origin("https://billing.test"),
    };
    for _ in 0..1_000 {
        tell.granted(Duration::ZERO, true);
        tell.released(ms(20));
    }
}
