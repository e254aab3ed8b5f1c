//! The names that OpenTelemetry has, as OpenTelemetry has them.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Recorder, one_of_everything};
use metrics::Unit;
use tollgate_queue_metrics::names::{self, Kind, WAIT_BUCKETS};
use tollgate_queue_metrics::{Naming, PoolMetrics};

/// One metric of the model.
struct Modelled {
    name: &'static str,
    kind: Kind,
    unit: Unit,
    /// On every series.
    required: &'static [&'static str],
    /// On some series: what the model has besides, as far as it is here.
    also: &'static [&'static str],
}

const SERVER: [&str; 2] = ["server.address", "server.port"];
/// Required where there is a response, or an error.
const OF_ANSWER: [&str; 3] = [
    "http.response.status_code",
    "error.type",
    "network.protocol.version",
];

/// The client's side of OpenTelemetry's semantic conventions, version 1.44.0, from the files
/// `model/http/metrics.yaml`, `model/http/common.yaml` and `model/dns/metrics.yaml` of
/// <https://github.com/open-telemetry/semantic-conventions/tree/v1.44.0>. An up-down counter is a gauge
/// in the `metrics` facade; a unit such as `{connection}` is a count.
const MODEL: &[Modelled] = &[
    Modelled {
        name: "http.client.request.duration",
        kind: Kind::Histogram,
        unit: Unit::Seconds,
        required: &["http.request.method", SERVER[0], SERVER[1]],
        also: &OF_ANSWER,
    },
    // Experimental there; the model advises no buckets.
    Modelled {
        name: "http.client.request.body.size",
        kind: Kind::Histogram,
        unit: Unit::Bytes,
        required: &["http.request.method", SERVER[0], SERVER[1]],
        also: &OF_ANSWER,
    },
    Modelled {
        name: "http.client.response.body.size",
        kind: Kind::Histogram,
        unit: Unit::Bytes,
        required: &["http.request.method", SERVER[0], SERVER[1]],
        also: &OF_ANSWER,
    },
    Modelled {
        name: "http.client.open_connections",
        kind: Kind::Gauge,
        unit: Unit::Count,
        required: &["http.connection.state", SERVER[0], SERVER[1]],
        also: &[],
    },
    Modelled {
        name: "http.client.connection.duration",
        kind: Kind::Histogram,
        unit: Unit::Seconds,
        required: &SERVER,
        also: &[],
    },
    Modelled {
        name: "http.client.active_requests",
        kind: Kind::Gauge,
        unit: Unit::Count,
        required: &SERVER,
        also: &[],
    },
    Modelled {
        name: "dns.lookup.duration",
        kind: Kind::Histogram,
        unit: Unit::Seconds,
        required: &["dns.question.name"],
        also: &["error.type"],
    },
];

/// The bounds that the model advises for durations of requests and lookups.
const ADVISED: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// The attributes of each series that one of everything makes, by metric.
fn emitted() -> BTreeMap<String, Vec<BTreeSet<String>>> {
    let pool = PoolMetrics::new()
        .naming(Naming::OpenTelemetry)
        .with_connection_duration()
        .with_body_sizes();
    one_of_everything(&pool);
    let recorder = Recorder::new();
    recorder.run(|| pool.report());
    let mut emitted = BTreeMap::<_, Vec<_>>::new();
    for series in recorder.series().into_keys() {
        let (name, labels) = series.split_once('{').unwrap_or((&series, ""));
        let keys = labels.split(',').filter_map(|label| label.split_once('='));
        let name = name
            .strip_suffix("_sum")
            .or_else(|| name.strip_suffix("_count"))
            .unwrap_or(name);
        let keys = keys.map(|(key, _)| key.to_owned()).collect();
        emitted.entry(name.to_owned()).or_default().push(keys);
    }
    emitted
}

#[test]
fn metrics_have_the_opentelemetry_kind_and_unit() {
    for model in MODEL {
        let ours = names::ALL.iter().find(|metric| metric.otel == model.name);
        let ours = ours.unwrap_or_else(|| panic!("{} is missing", model.name));
        assert_eq!(
            (ours.kind, ours.unit),
            (model.kind, model.unit),
            "{}",
            model.name
        );
    }
}

#[test]
fn series_have_exactly_the_modelled_opentelemetry_attributes() {
    let emitted = emitted();
    for model in MODEL {
        let series = emitted
            .get(model.name)
            .unwrap_or_else(|| panic!("no {}", model.name));
        let required: BTreeSet<_> = model.required.iter().map(|&key| key.to_owned()).collect();
        let mut besides = BTreeSet::new();
        for keys in series {
            assert!(
                keys.is_superset(&required),
                "{} has only {keys:?}",
                model.name
            );
            besides.extend(keys.difference(&required).cloned());
        }
        let also: BTreeSet<_> = model.also.iter().map(|&key| key.to_owned()).collect();
        assert_eq!(besides, also, "{}", model.name);
    }
}

#[test]
fn buckets_of_durations_include_the_advised_bounds() {
    assert!(ADVISED.iter().all(|bound| WAIT_BUCKETS.contains(bound)));
}

/// All that the model has in these files for a client: nothing of it is missing here.
#[test]
fn no_opentelemetry_client_metric_is_missing() {
    let here: BTreeSet<_> = MODEL.iter().map(|modelled| modelled.name).collect();
    let of_client = [
        "http.client.active_requests",
        "http.client.connection.duration",
        "http.client.open_connections",
        "http.client.request.body.size",
        "http.client.request.duration",
        "http.client.response.body.size",
    ];
    assert!(of_client.iter().all(|name| here.contains(name)));
}
