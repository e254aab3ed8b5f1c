//! The table, the documentation, the dashboard and the alerts say the same as what is emitted.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::future::ready;

use common::{LABELS_OF_ALL, Recorder, a_thousand_requests, one_of_everything};
use http_body_util::Empty;
use metrics::Unit;
use tollgate_queue_metrics::names::{self, Kind, Metric};
use tollgate_queue_metrics::{PoolMetrics, QueueMetricsLayer, REPORT_EVERY};
use tower::{Layer, ServiceExt, service_fn};

const DASHBOARD: &str = include_str!("../dashboards/tollgate.json");
const ALERTS: &str = include_str!("../dashboards/alerts.yml");
const ALERT_TESTS: &str = include_str!("../dashboards/alerts_test.yml");

fn by_name(name: &str) -> Option<&'static Metric> {
    names::ALL.iter().find(|metric| metric.name == name)
}

/// Everything emitted in a run that uses all of it: each metric with its own labels.
async fn emitted() -> BTreeMap<String, BTreeSet<String>> {
    let pool = PoolMetrics::new()
        .pool("main")
        .connections_limit(4)
        .with_connection_duration()
        .with_body_sizes()
        .with_recommendation();
    one_of_everything(&pool);
    let layer = QueueMetricsLayer::new("billing");
    let empty = || http::Response::new(Empty::<bytes::Bytes>::new());
    let service = layer.layer(service_fn(|()| ready(Ok::<_, Infallible>(empty()))));
    service.oneshot(()).await.unwrap();
    let recorder = Recorder::new();
    recorder.run(|| pool.report());
    a_thousand_requests(&pool);
    tokio::time::advance(REPORT_EVERY).await;
    recorder.run(|| {
        pool.report();
        layer.report();
    });
    let mut emitted = BTreeMap::<_, BTreeSet<_>>::new();
    for series in recorder.series().into_keys() {
        let (name, labels) = series.split_once('{').unwrap_or((&series, ""));
        let name = metric_of(name).unwrap_or_else(|| panic!("{name} is not in the table"));
        let own = emitted.entry(name.name.to_owned()).or_default();
        let keys = labels.split(',').filter_map(|label| label.split_once('='));
        own.extend(
            keys.map(|(key, _)| key.to_owned())
                .filter(|key| !LABELS_OF_ALL.contains(&&**key)),
        );
    }
    emitted
}

/// The metric that a series belongs to.
fn metric_of(series: &str) -> Option<&'static Metric> {
    let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| {
        let metric = by_name(series.strip_suffix(suffix)?)?;
        (metric.kind == Kind::Histogram).then_some(metric)
    });
    let bare = || by_name(series).filter(|metric| metric.kind != Kind::Histogram);
    histogram.or_else(bare)
}

#[tokio::test(start_paused = true)]
async fn emitted_metrics_match_the_table_of_names() {
    let table: BTreeMap<_, _> = names::ALL
        .iter()
        .map(|metric| {
            let labels = metric.labels.iter().map(|label| (*label).to_owned());
            (metric.name.to_owned(), labels.collect())
        })
        .collect();
    assert_eq!(emitted().await, table);
}

#[test]
fn the_front_page_has_the_table() {
    let page = include_str!("../src/lib.rs");
    let rows: Vec<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `"))
        .map(|row| row.split(" | ").collect::<Vec<_>>())
        .collect();
    let expected: Vec<_> = names::ALL
        .iter()
        .map(|metric| {
            let labels: Vec<_> = metric.labels.iter().map(|l| format!("`{l}`")).collect();
            let unit = match metric.unit {
                Unit::Seconds => "s",
                Unit::Bytes => "By",
                _ => "1",
            };
            let kind = format!("{:?}", metric.kind).to_lowercase();
            [
                format!("{}`", metric.name),
                kind,
                unit.to_owned(),
                labels.join(", "),
            ]
        })
        .collect();
    assert_eq!(rows.len(), expected.len());
    for (row, expected) in rows.iter().zip(&expected) {
        // An empty cell is written as one space.
        let cells: Vec<_> = row[..4].iter().map(|cell| cell.trim()).collect();
        assert_eq!(cells, expected);
    }
}

#[test]
fn names_are_spelled_as_their_conventions_want() {
    for metric in names::ALL {
        let name = metric.name;
        let fine = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        assert!(name.bytes().all(fine), "{name}");
        assert_eq!(
            name.ends_with("_total"),
            metric.kind == Kind::Counter,
            "{name}"
        );
        let seconds = metric.unit == Unit::Seconds;
        assert_eq!(name.ends_with("_seconds"), seconds, "{name}");
        let bytes = metric.unit == Unit::Bytes;
        assert_eq!(name.ends_with("_bytes"), bytes, "{name}");
        assert_eq!(
            metric.buckets.is_empty(),
            metric.kind != Kind::Histogram,
            "{name}"
        );
        assert!(metric.buckets.is_sorted(), "{name}");
        assert!(
            metric.otel.contains('.') && !metric.otel.contains("_total"),
            "{name}"
        );
        assert!(metric.description.ends_with('.'), "{name}");
    }
    let distinct: BTreeSet<_> = names::ALL.iter().map(|m| m.name).collect();
    let distinct_otel: BTreeSet<_> = names::ALL.iter().map(|m| m.otel).collect();
    assert_eq!(
        (distinct.len(), distinct_otel.len()),
        (names::ALL.len(), names::ALL.len())
    );
}

/// The words of a text that could be series of ours.
fn series_in(text: &str) -> BTreeSet<&str> {
    let ours = ["http_client_", "dns_", "tower_service_"];
    let labels = names::ALL
        .iter()
        .flat_map(|metric| metric.labels)
        .chain(&LABELS_OF_ALL);
    let labels: BTreeSet<_> = labels.copied().collect();
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| ours.iter().any(|ours| word.starts_with(ours)))
        .filter(|word| !labels.contains(word))
        .collect()
}

#[test]
fn dashboard_and_alerts_name_only_existing_metrics() {
    for text in [DASHBOARD, ALERTS, ALERT_TESTS] {
        let series = series_in(text);
        assert!(!series.is_empty());
        for series in series {
            let of_sockets = tollgate_sockets::names::ALL;
            let known = of_sockets.iter().any(|metric| metric.name == series);
            assert!(
                known || metric_of(series).is_some(),
                "{series} is in no table"
            );
        }
    }
}

#[test]
fn dashboard_shows_every_metric_on_by_default() {
    let shown: BTreeSet<_> = series_in(DASHBOARD)
        .into_iter()
        .filter_map(metric_of)
        .map(|metric| metric.name)
        .collect();
    let hidden: Vec<_> = names::ALL
        .iter()
        .map(|metric| metric.name)
        .filter(|name| !shown.contains(name))
        .collect();
    let opted_in = [
        names::REQUEST_BODY_SIZE.name,
        names::RESPONSE_BODY_SIZE.name,
        names::CONNECTION_DURATION.name,
    ];
    assert_eq!(hidden, opted_in);
}

#[test]
fn dashboard_takes_any_datasource_and_begins_with_refusals() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    assert!(dashboard.get("__inputs").is_none());
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}");
        }
    }
    let rows: Vec<_> = panels
        .iter()
        .filter(|panel| panel["type"] == "row")
        .map(|row| row["title"].as_str().unwrap())
        .collect();
    let order = ["refused", "Queue", "limit", "churning", "DNS", "Latency"];
    for (row, word) in rows.iter().zip(order) {
        assert!(row.contains(word), "{row}");
    }
}
