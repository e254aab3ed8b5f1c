//! What Tollgate's run looks like from outside, over HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tollgate_queue_metrics::{PoolMetrics, QueueMetricsLayer, names};

use crate::BoxError;

/// The metrics of a run, and the recorder they go to.
#[derive(Clone)]
pub(crate) struct Metrics {
    pool: Arc<PoolMetrics>,
    layer: QueueMetricsLayer,
    page: PrometheusHandle,
}

impl Metrics {
    /// Installs the process's recorder: only the first time is the right one.
    pub(crate) fn install() -> Result<Self, BoxError> {
        let mut exporter = PrometheusBuilder::new();
        for (name, buckets) in names::buckets() {
            exporter = exporter.set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets)?;
        }
        Ok(Self {
            pool: Arc::new(PoolMetrics::new().with_recommendation()),
            layer: QueueMetricsLayer::new("load"),
            page: exporter.install_recorder()?,
        })
    }

    pub(crate) fn pool(&self) -> Arc<PoolMetrics> {
        Arc::clone(&self.pool)
    }

    pub(crate) fn layer(&self) -> &QueueMetricsLayer {
        &self.layer
    }

    /// As they are now: a scrape is answered with what is true then.
    fn page(&self) -> String {
        self.pool.report();
        self.layer.report();
        self.page.run_upkeep();
        self.page.render()
    }

    /// Answers at `addr` until the server is dropped.
    pub(crate) async fn serve(
        &self,
        addr: SocketAddr,
        client: tollgate::Client,
    ) -> Result<Server, BoxError> {
        let listener = TcpListener::bind(addr).await;
        let listener = listener.map_err(|error| format!("cannot serve at {addr}: {error}"))?;
        let metrics = self.clone();
        let router = Router::new()
            .route("/metrics", get(async move || metrics.page()))
            .route("/stats", get(async move || stats(&client)));
        let addr = listener.local_addr()?;
        let task = tokio::spawn(async move {
            // It ends with the run, which aborts it.
            drop(axum::serve(listener, router).await);
        });
        Ok(Server { addr, task })
    }
}

fn stats(client: &tollgate::Client) -> Result<String, StatusCode> {
    let json = serde_json::to_string(&client.snapshot());
    json.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

/// A running server; ends when dropped.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
