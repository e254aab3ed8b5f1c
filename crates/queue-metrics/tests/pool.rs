//! What `PoolMetrics` counts and what a recorder hears of it.
#![expect(clippy::float_cmp, reason = "whole numbers, which arrive as they are")]

mod common;

use std::num::NonZeroUsize;
use std::time::Duration;

use common::{Recorder, Tell, dns_cache, dns_lookup, ms, one_of_everything, origin};
use metrics_exporter_prometheus::PrometheusBuilder;
use metrics_util::MetricKindMask;
use tollgate_core::{CloseReason, Event, Observer, Origin, RefuseReason};
use tollgate_queue_metrics::{Naming, PoolMetrics, names};

const BILLING: &str = r#"server_address="billing.test",server_port="443""#;

#[test]
fn a_recorder_that_is_installed_late_hears_everything_at_the_next_report() {
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
    assert_eq!(of("http_client_request_time_in_queue_seconds_sum"), 0.04);
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
        let full = f64::from(u8::from(*r == RefuseReason::Full));
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
fn the_peak_shows_a_burst_that_is_over_in_three_reports_and_starts_again() {
    let metrics = PoolMetrics::new();
    let tell = Tell {
        observer: &metrics,
        origin: origin("https://billing.test"),
    };
    for ahead in 0..5 {
        tell.queued(ahead);
    }
    for _ in 0..4 {
        tell.granted(ms(1), true);
    }
    assert_eq!(metrics.snapshot().origins[0].queued_peak, 5);
    let recorder = Recorder::new();
    let peak = || {
        recorder.run(|| metrics.report());
        recorder.series()[&format!("http_client_queued_requests_peak{{{BILLING}}}")]
    };
    // Whoever scrapes at every other report sees it.
    assert_eq!([peak(), peak(), peak()], [5.0; 3]);
    assert_eq!(peak(), 1.0, "one still waits");
    tell.granted(Duration::from_nanos(1), true);
    assert_eq!([peak(), peak(), peak(), peak()], [1.0, 1.0, 1.0, 0.0]);
}

#[test]
fn a_refusal_at_once_is_no_wait_and_one_after_a_wait_is() {
    let metrics = PoolMetrics::new();
    let tell = Tell {
        observer: &metrics,
        origin: origin("https://billing.test"),
    };
    tell.refused(RefuseReason::Full, Duration::ZERO);
    tell.queued(0);
    tell.refused(RefuseReason::TimedOut, ms(3_000));
    let stats = &metrics.snapshot().origins[0];
    assert_eq!((stats.waits.count, stats.waits.sum), (1, ms(3_000)));
    assert_eq!((stats.queued, stats.demands()), (0, 2));
}

#[test]
fn series_that_an_exporter_dropped_come_back_with_what_came_since() {
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
    let metrics = PoolMetrics::new().with_connection_duration();
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
fn names_follow_the_prefix_the_pool_and_the_convention() {
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
fn a_connection_lives_on_in_a_histogram_only_if_asked_for() {
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
fn a_limit_of_its_own_wins_and_others_have_none() {
    let metrics = PoolMetrics::new()
        .max_origins(NonZeroUsize::MIN)
        .connections_limit(128);
    metrics.set_limit(&origin("https://billing.test"), 6);
    let tell = Tell {
        observer: &metrics,
        origin: origin("https://other.test"),
    };
    tell.queued(0);
    metrics.set_limit(&tell.origin, 7);
    let limits: Vec<_> = metrics.snapshot().origins.iter().map(|o| o.limit).collect();
    assert_eq!(limits, [Some(6), None]);
}

#[test]
fn the_limit_of_an_origin_that_its_pool_forgot_is_reported_as_zero() {
    let metrics = PoolMetrics::new();
    let billing = origin("https://billing.test");
    let recorder = Recorder::new();
    let reported = || {
        recorder.run(|| metrics.report());
        let gauge = format!("http_client_connections_limit{{{BILLING}}}");
        recorder.series().get(&gauge).copied()
    };
    metrics.on_event(&Event::Queued {
        origin: &billing,
        ahead: 0,
    });
    assert_eq!(reported(), None, "nobody told it");
    limit_changed(&metrics, &billing, 0, 128);
    assert_eq!(reported(), Some(128.0));
    limit_changed(&metrics, &billing, 128, 0);
    assert_eq!(reported(), Some(0.0));
    assert_eq!(metrics.snapshot().origins[0].limit, None);
}

#[test]
fn dns_is_counted_by_name_and_answer() {
    let metrics = PoolMetrics::new();
    for result in ["hit", "hit", "stale", "negative"] {
        dns_cache(&metrics, "billing.test", result);
    }
    dns_lookup(&metrics, "billing.test", Some("timeout"));
    let snapshot = metrics.snapshot();
    let name = &snapshot.names[0];
    assert_eq!(name.results, [("hit", 2), ("stale", 1), ("negative", 1)]);
    assert_eq!((name.failed[0].0, name.failed[0].1.count), ("timeout", 1));
    assert_eq!(name.answered.count, 0);
}

#[test]
fn two_pools_that_are_told_of_one_connection_each_keep_their_own_counts() {
    let both = (PoolMetrics::new(), PoolMetrics::new());
    one_of_everything(&both);
    assert_eq!(both.0.snapshot(), both.1.snapshot());
    let closed = &both.0.snapshot().origins[0].closed;
    assert_eq!(closed, &[(CloseReason::PeerClose, 1)]);
}

fn limit_changed(metrics: &PoolMetrics, origin: &Origin, from: usize, to: usize) {
    metrics.on_event(&Event::LimitChanged { origin, from, to });
}

#[test]
fn the_limits_of_a_group_add_up_and_follow_the_pool() {
    let metrics = PoolMetrics::new().group_by(|_| "*.test".into());
    let (a, b) = (origin("http://a.test"), origin("http://b.test"));
    let limit = || metrics.snapshot().origins[0].limit;
    limit_changed(&metrics, &a, 0, 128);
    assert_eq!(limit(), Some(128));
    limit_changed(&metrics, &b, 0, 128);
    limit_changed(&metrics, &b, 128, 6);
    assert_eq!(limit(), Some(134));
    limit_changed(&metrics, &a, 128, 0);
    assert_eq!(limit(), Some(6), "the pool forgot one");
    limit_changed(&metrics, &b, 6, 0);
    assert_eq!(limit(), None);
}

#[test]
fn draining_connections_are_told_and_not_among_the_open_ones() {
    let metrics = PoolMetrics::new();
    let tell = Tell {
        observer: &metrics,
        origin: origin("https://billing.test"),
    };
    tell.connect_started();
    tell.opened(1, ms(1));
    tell.connect_started();
    tell.opened(2, ms(1));
    let told = || {
        let stats = metrics.snapshot().origins.remove(0);
        (stats.draining, stats.open)
    };
    let origin = &tell.origin;
    let (from, to) = (0, 1);
    metrics.on_event(&Event::DrainingChanged { origin, from, to });
    assert_eq!(told(), (1, 1));
    let (from, to) = (1, 0);
    metrics.on_event(&Event::DrainingChanged { origin, from, to });
    tell.closed(1, CloseReason::PeerClose);
    assert_eq!(told(), (0, 1));
    let recorder = Recorder::new();
    recorder.run(|| metrics.report());
    let gauge = format!("http_client_connections_draining{{{BILLING}}}");
    assert_eq!(recorder.series()[&gauge], 0.0);
}

#[test]
fn the_limit_in_requests_is_that_of_connections_times_what_each_carries() {
    let metrics = PoolMetrics::new();
    let tell = Tell {
        observer: &metrics,
        origin: origin("https://billing.test"),
    };
    let streams_changed = |from, to| {
        let origin = &tell.origin;
        metrics.on_event(&Event::StreamsChanged { origin, from, to });
    };
    let recorder = Recorder::new();
    let told = || {
        recorder.run(|| metrics.report());
        let gauge = format!("http_client_requests_limit{{{BILLING}}}");
        let told = metrics.snapshot().origins[0].requests_limit;
        let reported = recorder.series().get(&gauge).map(ToString::to_string);
        assert_eq!(told.map(|told| told.to_string()), reported);
        told
    };
    tell.connect_started();
    tell.opened(1, ms(1));
    assert_eq!(told(), None, "nobody told it");
    limit_changed(&metrics, &tell.origin, 0, 4);
    assert_eq!(told(), Some(4), "one at a time");
    streams_changed(0, 100);
    assert_eq!(told(), Some(400));
    tell.connect_started();
    tell.opened(2, ms(1));
    streams_changed(100, 150);
    assert_eq!(told(), Some(300));
    tell.closed(1, CloseReason::PeerClose);
    streams_changed(150, 0);
    assert_eq!(told(), Some(4), "the one that is left carries none");
    tell.closed(2, CloseReason::PeerClose);
    assert_eq!(told(), Some(4), "nobody knows what the next carries");
}
