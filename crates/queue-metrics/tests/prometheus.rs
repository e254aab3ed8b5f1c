//! A real Prometheus scrapes a page of ours: every query of the dashboard has an answer, and the
//! alert rules evaluate.
//!
//! Needs `prometheus`; without it the test says so and passes.

mod common;

use std::convert::Infallible;
use std::future::ready;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use common::{a_thousand_requests, one_of_everything, origin};
use http::Response;
use http_body_util::Empty;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use tollgate_queue_metrics::{PoolMetrics, QueueMetricsLayer, names};
use tollgate_testing::{HeldPort, skip};
use tower::{Layer, ServiceExt, service_fn};

const DASHBOARDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/dashboards");

#[tokio::test]
async fn prometheus_answers_dashboard_queries_and_evaluates_rules() {
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let page = target.local_addr().unwrap().to_string();
    let port = HeldPort::start(Ipv4Addr::LOCALHOST);
    let server = port.addr().to_string();
    let _prometheus = match start(&page, &server).await {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return skip("prometheus", "prometheus");
        }
        Err(error) => panic!("prometheus cannot be run: {error}"),
    };
    let serving = tokio::spawn(serve(target));
    let mut unanswered = queries();
    let all_answered = async {
        while !unanswered.is_empty() {
            sleep(Duration::from_millis(300)).await;
            let mut still = Vec::new();
            for query in std::mem::take(&mut unanswered) {
                if !has_answer(&server, &query).await {
                    still.push(query);
                }
            }
            unanswered = still;
        }
    };
    let in_time = timeout(Duration::from_secs(40), all_answered).await;
    assert!(in_time.is_ok(), "no answer to {unanswered:#?}");

    let rules = get(&server, "/api/v1/rules").await.expect("an answer");
    let rules = &rules["data"]["groups"][0]["rules"];
    assert_eq!(rules.as_array().unwrap().len(), 10);
    for rule in rules.as_array().unwrap() {
        assert_ne!(rule["health"], "err", "{rule}");
    }
    serving.abort();
}

/// The dashboard's queries as Grafana would send them with everything chosen.
fn queries() -> Vec<String> {
    let dashboard = std::fs::read_to_string(Path::new(DASHBOARDS).join("tollgate.json"));
    let dashboard: Value =
        serde_json::from_str(&dashboard.expect("a file of this crate")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    let queries = targets
        .flatten()
        .filter_map(|target| target["expr"].as_str());
    let filled = queries.map(|query| {
        let query = query.replace("$__rate_interval", "1m");
        ["$job", "$instance", "$origin"]
            .iter()
            .fold(query, |query, variable| query.replace(variable, ".*"))
    });
    filled.collect()
}

async fn start(page: &str, server: &str) -> std::io::Result<Child> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("prometheus");
    tokio::fs::remove_dir_all(&folder).await.ok();
    tokio::fs::create_dir_all(&folder).await?;
    let config = serde_json::json!({
        "global": { "scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "1s" },
        "rule_files": [format!("{DASHBOARDS}/alerts.yml")],
        "scrape_configs": [{ "job_name": "shop", "static_configs": [{ "targets": [page] }] }],
    });
    let file = folder.join("prometheus.yml");
    tokio::fs::write(&file, config.to_string()).await?;
    Command::new("prometheus")
        .arg(format!("--config.file={}", file.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.join("data").display()
        ))
        .arg(format!("--web.listen-address={server}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
}

/// Answers each scrape with a page on which more has happened than on the last.
async fn serve(target: TcpListener) {
    let mut builder = PrometheusBuilder::new();
    for (name, buckets) in names::buckets() {
        let matcher = Matcher::Full(name.to_owned());
        builder = builder
            .set_buckets_for_metric(matcher, buckets)
            .expect("buckets");
    }
    let recorder = builder.build_recorder();
    let metrics = Arc::new(
        PoolMetrics::new()
            .connections_limit(8)
            .with_recommendation(),
    );
    metrics.set_limit(&origin("http://search.test"), 2);
    let layer = QueueMetricsLayer::new("billing");
    loop {
        let (mut scrape, _) = target.accept().await.expect("a scrape");
        let page = page(&recorder, &metrics, &layer).await;
        let mut request = [0; 4096];
        let _read = scrape.read(&mut request).await.ok();
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\nconnection: close\r\n";
        let answer = format!("{head}content-length: {}\r\n\r\n{page}", page.len());
        scrape.write_all(answer.as_bytes()).await.ok();
    }
}

async fn page(
    recorder: &PrometheusRecorder,
    metrics: &PoolMetrics,
    layer: &QueueMetricsLayer,
) -> String {
    one_of_everything(metrics);
    a_thousand_requests(metrics);
    let empty = || Response::new(Empty::<bytes::Bytes>::new());
    let service = layer.layer(service_fn(|()| ready(Ok::<_, Infallible>(empty()))));
    service.oneshot(()).await.expect("cannot fail");
    metrics::with_local_recorder(recorder, || {
        metrics.report();
        layer.report();
        // In the place of tollgate-sockets, which the dashboard shows too.
        let origin = [("server_address", "billing.test"), ("server_port", "80")];
        metrics::gauge!("http_client_port_headroom_ratio", &origin).set(0.9);
    });
    recorder.handle().render()
}

async fn has_answer(server: &str, query: &str) -> bool {
    let escape = |byte| format!("%{byte:02x}");
    let escaped: String = query.bytes().map(escape).collect();
    let answer = get(server, &format!("/api/v1/query?query={escaped}")).await;
    answer.is_some_and(|answer| {
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        let result = answer["data"]["result"].as_array();
        result.is_some_and(|result| !result.is_empty())
    })
}

/// `None` while the server is not there yet.
async fn get(server: &str, path: &str) -> Option<Value> {
    let mut stream = TcpStream::connect(server).await.ok()?;
    // HTTP/1.0: the answer ends with the connection and is in one piece.
    let request = format!("GET {path} HTTP/1.0\r\nhost: {server}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    serde_json::from_str(body).ok()
}
