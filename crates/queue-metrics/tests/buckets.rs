//! Histograms in an exporter that was given their buckets.

mod common;

use common::{Tell, dns_cache, ms, one_of_everything, origin};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tollgate_queue_metrics::names::{self, Kind};
use tollgate_queue_metrics::{Naming, PoolMetrics};

#[test]
fn buckets_match_histograms_in_both_namings_with_prefix() {
    let mut builder = PrometheusBuilder::new();
    for (name, buckets) in names::buckets() {
        let matcher = Matcher::Suffix(name.to_owned());
        builder = builder.set_buckets_for_metric(matcher, buckets).unwrap();
    }
    let recorder = builder.build_recorder();
    for naming in [Naming::Prometheus, Naming::OpenTelemetry] {
        let metrics = PoolMetrics::new().naming(naming).prefix("shop_");
        let metrics = metrics.with_connection_duration().with_body_sizes();
        one_of_everything(&metrics);
        metrics::with_local_recorder(&recorder, || metrics.report());
    }
    let page = recorder.handle().render();
    let histograms = names::ALL
        .iter()
        .filter(|metric| metric.kind == Kind::Histogram && !metric.name.starts_with("tower_"));
    for metric in histograms {
        for name in [metric.name, &metric.otel.replace('.', "_")] {
            assert!(page.contains(&format!("shop_{name}_bucket{{")), "{name}");
        }
    }
    assert!(!page.contains("quantile="), "{page}");
}

#[test]
fn rendered_histogram_buckets_and_sum_add_up() {
    let mut builder = PrometheusBuilder::new();
    for (name, buckets) in names::buckets() {
        let matcher = Matcher::Full(name.to_owned());
        builder = builder.set_buckets_for_metric(matcher, buckets).unwrap();
    }
    let recorder = builder.build_recorder();
    let metrics = PoolMetrics::new();
    let tell = Tell {
        observer: &metrics,
        origin: origin("https://billing.test"),
    };
    for wait in [0, 1, 3, 4, 3_000] {
        tell.granted(ms(wait), true);
    }
    dns_cache(&metrics, "billing.test", "hit");
    metrics::with_local_recorder(&recorder, || metrics.report());
    let page = recorder.handle().render();
    let name = "http_client_request_time_in_queue_seconds";
    let labels = r#"server_address="billing.test",server_port="443""#;
    for (le, count) in [
        ("0.0005", 1),
        ("0.001", 2),
        ("0.005", 4),
        ("2.5", 4),
        ("5", 5),
    ] {
        let line = format!("{name}_bucket{{{labels},le=\"{le}\"}} {count}\n");
        assert!(page.contains(&line), "{line} in {page}");
    }
    assert!(
        page.contains(&format!("{name}_sum{{{labels}}} 3.008")),
        "{page}"
    );
}
