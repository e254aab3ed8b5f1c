//! What operators read, at an address of its own: `/metrics` and `/stats`.

use std::sync::Arc;

use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tollgate::Client;
use tollgate_queue_metrics::{PoolMetrics, names};
use tower::BoxError;

/// The process's recorder, and the client's observer.
#[derive(Clone)]
pub(crate) struct Metrics {
    pub(crate) pool: Arc<PoolMetrics>,
    page: PrometheusHandle,
}

impl Metrics {
    pub(crate) fn install() -> Result<Self, BoxError> {
        let mut exporter = PrometheusBuilder::new();
        for (name, buckets) in names::buckets() {
            exporter = exporter.set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets)?;
        }
        Ok(Self {
            pool: Arc::new(PoolMetrics::new()),
            page: exporter.install_recorder()?,
        })
    }

    pub(crate) fn router(self, client: Client) -> Router {
        Router::new()
            .route("/metrics", get(async move || self.page()))
            .route("/stats", get(async move || Json(client.snapshot())))
    }

    /// As they are now: a scrape is answered with what is true then.
    fn page(&self) -> String {
        self.pool.report();
        self.page.run_upkeep();
        self.page.render()
    }
}
