//! A recorder that is installed when everything is already running: in a process of its own, since
//! there is one recorder for all of it.

mod common;

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;

use common::{a_thousand_requests, one_of_everything, origin};
use http::Response;
use http_body_util::Empty;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tokio::time::advance;
use tollgate_core::{Event, Observer};
use tollgate_queue_metrics::{PoolMetrics, QueueMetricsLayer, REPORT_EVERY, names, spawn_report};
use tower::{Layer, ServiceExt, service_fn};

async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// The same on both sides of the installation.
async fn happen(pool: &PoolMetrics, layer: &QueueMetricsLayer) {
    one_of_everything(pool);
    let empty = || Response::new(Empty::<bytes::Bytes>::new());
    let service = layer.layer(service_fn(|()| ready(Ok::<_, Infallible>(empty()))));
    service.oneshot(()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn late_recorder_gets_everything_within_one_report() {
    let pool = Arc::new(
        PoolMetrics::new()
            .with_connection_duration()
            .with_body_sizes()
            .with_recommendation(),
    );
    let layer = QueueMetricsLayer::new("billing");
    let _reporter = spawn_report((Arc::clone(&pool), layer.clone()), REPORT_EVERY);
    pool.on_event(&Event::LimitChanged {
        origin: &origin("https://billing.test"),
        from: 0,
        to: 128,
    });
    happen(&pool, &layer).await;
    // Reports that nobody hears lose nothing.
    for _ in 0..3 {
        advance(REPORT_EVERY).await;
        settle().await;
    }
    let mut exporter = PrometheusBuilder::new();
    for (name, buckets) in names::buckets() {
        let name = Matcher::Full(name.to_owned());
        exporter = exporter.set_buckets_for_metric(name, buckets).unwrap();
    }
    let page = exporter.install_recorder().unwrap();
    happen(&pool, &layer).await;
    a_thousand_requests(&*pool);
    assert_eq!(page.render(), "", "nothing is written between reports");

    advance(REPORT_EVERY).await;
    settle().await;
    let page = page.render();
    for metric in names::ALL {
        assert!(
            page.contains(&format!("# HELP {} ", metric.name)),
            "{} in\n{page}",
            metric.name
        );
        assert!(
            page.contains(&format!("\n{}", metric.name)),
            "{} in\n{page}",
            metric.name
        );
    }
    let labels = r#"{server_address="billing.test",server_port="443"}"#;
    for line in [
        format!("http_client_connections_opened_total{labels} 4"),
        format!("http_client_request_time_in_queue_seconds_count{labels} 1004"),
        format!("http_client_connections_limit{labels} 128"),
        r#"tower_service_requests_total{service="billing",outcome="cancelled"} 0"#.to_owned(),
        r#"tower_service_request_duration_seconds_count{service="billing"} 2"#.to_owned(),
    ] {
        assert!(page.contains(&line), "{line} in\n{page}");
    }
}
