//! Series and descriptions that a report hands to a recorder.

use metrics_exporter_prometheus::PrometheusBuilder;
use metrics_util::MetricKindMask;
use tollgate_core::{Observer, RefuseReason};
use tollgate_queue_metrics::{Naming, PoolMetrics, names};

use super::BILLING;
use crate::common::{Recorder, Tell, ms, one_of_everything, origin};

#[test]
fn late_recorder_gets_everything_at_next_report() {
    let metrics = PoolMetrics::new().connections_limit(8);
    one_of_everything(&metrics);
    for _ in 0..3 {
        metrics.report(); // Nobody listens yet.
    }
    let recorder = Recorder::new();
    recorder.run(|| metrics.report());
    let series = recorder.series();
    let of = |name: &str| series[&format!("{name}{{{BILLING}}}")];
    assert_eq!(of("http_client_connections_limit"), 8.0);
    assert_eq!(of("http_client_connections_opened_total"), 2.0);
    assert_eq!(of("http_client_connections_reused_total"), 1.0);
    assert_eq!(of("http_client_requests_retried_total"), 1.0);
    assert_eq!(of("http_client_request_time_in_queue_seconds_count"), 2.0);
    assert_eq!(of("http_client_request_time_in_queue_seconds_sum"), 0.0);
    assert_eq!(of("http_client_request_time_for_dial_seconds_count"), 1.0);
    assert_eq!(of("http_client_request_time_for_dial_seconds_sum"), 0.04);
    let used = of("http_client_connection_use_seconds_sum");
    assert!((used - 0.12).abs() < 1e-9, "{used}");
}

#[test]
fn every_number_is_where_it_belongs() {
    let metrics = PoolMetrics::new();
    one_of_everything(&metrics);
    let recorder = Recorder::new();
    recorder.run(|| metrics.report());
    let series = recorder.series();
    let with = |name: &str, label: &str| {
        let mut labels = [label.to_owned(), BILLING.to_owned()];
        labels.sort();
        series[&format!("{name}{{{}}}", labels.join(","))]
    };
    let open = "http_client_open_connections";
    assert_eq!(with(open, r#"http_connection_state="idle""#), 1.0);
    assert_eq!(with(open, r#"http_connection_state="active""#), 0.0);
    let rejected = "http_client_queue_rejections_total";
    let reason = |reason: RefuseReason| format!("reason=\"{}\"", reason.label());
    let counts = RefuseReason::ALL.iter().map(|r| {
        let full = f64::from(u8::from(*r == RefuseReason::QueueFull));
        // server_address comes after reason.
        (
            series[&format!("{rejected}{{{},{BILLING}}}", reason(*r))],
            full,
        )
    });
    counts.for_each(|(count, expected)| assert_eq!(count, expected));
    let closed = "http_client_connections_closed_total";
    assert_eq!(with(closed, r#"reason="peer_close""#), 1.0);
    assert_eq!(with(closed, r#"reason="idle""#), 0.0);
    let failed = "http_client_connect_errors_total";
    assert_eq!(with(failed, r#"error_type="refused""#), 1.0);
    let dial = "http_client_connect_duration_seconds_sum";
    for (phase, sum) in [
        ("dns", 0.012),
        ("tcp", 0.024),
        ("tls", 0.012),
        ("total", 0.048),
    ] {
        let heard = with(dial, &format!("phase=\"{phase}\""));
        assert!((heard - sum).abs() < 1e-9, "{phase}: {heard}");
    }
    let name = r#"dns_question_name="billing.test""#;
    let lookups = "dns_lookup_duration_seconds_count";
    assert_eq!(series[&format!("{lookups}{{{name}}}")], 1.0);
    let not_found = format!("{lookups}{{{name},error_type=\"not_found\"}}");
    assert_eq!(series[&not_found], 1.0);
    let missed = format!("dns_cache_requests_total{{{name},result=\"miss\"}}");
    assert_eq!(series[&missed], 1.0);
    assert_eq!(series["http_client_origins_overflowed"], 0.0);
}

#[test]
fn series_dropped_by_exporter_idle_timeout_come_back() {
    let recorder = PrometheusBuilder::new()
        .idle_timeout(MetricKindMask::ALL, Some(ms(10)))
        .build_recorder();
    let handle = recorder.handle();
    let metrics = PoolMetrics::new();
    one_of_everything(&metrics);
    let names = ["opened_total", "active_requests", "use_seconds_count"];
    let shown = |report: bool| {
        if report {
            metrics::with_local_recorder(&recorder, || metrics.report());
        }
        let page = handle.render();
        let of_ours = page.lines().filter(|line| line.contains(BILLING));
        let of_ours = of_ours.map(|line| line.rsplit_once(' ').unwrap());
        names.map(|name| {
            let mut values = of_ours.clone().filter(|(series, _)| series.contains(name));
            values.next().map(|(_, value)| value.to_owned())
        })
    };
    let some = |values: [&str; 3]| values.map(|value| Some(value.to_owned()));
    assert_eq!(shown(true), some(["2", "0", "2"]));
    // The exporter's clock is the real one; it drops what has not changed since the last look.
    let (_keep, never) = std::sync::mpsc::channel::<()>();
    assert!(never.recv_timeout(ms(30)).is_err());
    assert_eq!(shown(false), [None, None, None]);
    one_of_everything(&metrics);
    // A counter goes on from where it was; a histogram begins anew with what it has not shown.
    assert_eq!(shown(true), some(["4", "0", "2"]));
}

#[test]
fn each_recorder_gets_the_descriptions_once() {
    let metrics = PoolMetrics::new()
        .with_connection_duration()
        .with_body_sizes();
    one_of_everything(&metrics);
    let recorders = [Recorder::new(), Recorder::new()];
    for recorder in &recorders {
        recorder.run(|| metrics.report());
        let described = recorder.descriptions();
        let unsaid = [
            &names::CONNECTIONS_LIMIT,
            &names::REQUESTS_LIMIT,
            &names::CONNECTIONS_RECOMMENDED,
        ];
        let unsaid = unsaid.map(|metric| metric.name);
        let pool = names::ALL.iter().filter(|m| m.name.starts_with("http_"));
        for metric in pool.filter(|m| !unsaid.contains(&m.name)) {
            let (unit, text) = &described[metric.name];
            assert_eq!((unit, &**text), (&Some(metric.unit), metric.description));
        }
    }
}

#[test]
fn names_follow_prefix_pool_and_naming_convention() {
    let metrics = PoolMetrics::new()
        .naming(Naming::OpenTelemetry)
        .prefix("shop.")
        .pool("tenants")
        .without(&names::ORIGINS_OVERFLOWED);
    one_of_everything(&metrics);
    let recorder = Recorder::new();
    recorder.run(|| metrics.report());
    let series = recorder.series();
    let labels = r#"{pool="tenants",server.address="billing.test",server.port="443"}"#;
    assert_eq!(
        series[&format!("shop.http.client.queued_requests{labels}")],
        0.0
    );
    let use_time = format!("shop.http.client.connection.use_time_count{labels}");
    assert_eq!(series[&use_time], 2.0);
    let states = series
        .keys()
        .filter(|key| key.contains("http.connection.state=\"idle\""));
    assert_eq!(states.count(), 1);
    let lookups = r#"shop.dns.lookup.duration_count{dns.question.name="billing.test",error.type="not_found",pool="tenants"}"#;
    assert_eq!(series[lookups], 1.0);
    assert!(!series.keys().any(|key| key.contains("overflowed")));
}

#[test]
fn connection_duration_is_recorded_only_if_asked_for() {
    let count = |metrics: PoolMetrics| {
        one_of_everything(&metrics);
        let recorder = Recorder::new();
        recorder.run(|| metrics.report());
        let name = format!("http_client_connection_duration_seconds_count{{{BILLING}}}");
        recorder.series().get(&name).copied()
    };
    assert_eq!(count(PoolMetrics::new()), None);
    assert_eq!(
        count(PoolMetrics::new().with_connection_duration()),
        Some(1.0)
    );
}

#[test]
fn body_sizes_are_reported_only_where_asked_for() {
    let asked = PoolMetrics::new().with_body_sizes();
    let one = PoolMetrics::new()
        .with_body_sizes()
        .without(&names::REQUEST_BODY_SIZE);
    let none = PoolMetrics::new();
    let observe = [&asked, &one, &none].map(PoolMetrics::observes_bodies);
    assert_eq!(observe, [true, true, false]);
    let sizes = |metrics: &PoolMetrics| {
        let tell = Tell {
            observer: metrics,
            origin: origin("https://billing.test"),
        };
        tell.bodies_ended(Some(200), None, 3, Some(70_000));
        tell.bodies_ended(Some(200), None, 5, Some(30_000));
        tell.bodies_ended(None, Some("cancelled"), 2, None);
        let recorder = Recorder::new();
        recorder.run(|| metrics.report());
        let mut series = recorder.series();
        series.retain(|name, _| name.contains("body_size"));
        series
    };
    let (all, half) = (sizes(&asked), sizes(&one));
    let of = |name: &str, labels: &str| all[&format!("http_client_{name}{{{labels}{BILLING}}}")];
    let ok = r#"http_request_method="GET",http_response_status_code="200",network_protocol_version="1.1","#;
    let left = r#"error_type="cancelled",http_request_method="GET","#;
    assert_eq!(of("request_body_size_bytes_count", ok), 2.0);
    assert_eq!(of("request_body_size_bytes_sum", ok), 8.0);
    assert_eq!(of("request_body_size_bytes_sum", left), 2.0);
    assert_eq!(of("response_body_size_bytes_count", ok), 2.0);
    assert_eq!(of("response_body_size_bytes_sum", ok), 100_000.0);
    // Without a response there is no size of one.
    assert_eq!((all.len(), half.len()), (6, 2), "{all:?} {half:?}");
    assert!(sizes(&none).is_empty());
}
