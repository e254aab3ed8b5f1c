//! What a real client emits, over TLS and through a real resolver, is what the table of metrics says:
//! every metric with its own labels, and nothing else.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../crates/queue-metrics/tests/common/mod.rs"]
mod common;
mod site;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use common::{LABELS_OF_ALL, Recorder};
use futures_util::future::join_all;
use http::Request;
use http_body_util::{BodyExt, Empty};
use site::Site;
use tollgate::{Error, ErrorKind};
use tollgate_queue_metrics::names::{self, Kind};
use tollgate_queue_metrics::{PoolMetrics, QueueMetricsLayer, REPORT_EVERY};
use tower::{Layer, ServiceExt};

/// The site and what observes it.
struct Observed {
    site: Site,
    pool: Arc<PoolMetrics>,
    layer: QueueMetricsLayer,
}

impl Observed {
    async fn start() -> Self {
        let metrics = PoolMetrics::new().pool("main").with_connection_duration();
        let pool = Arc::new(metrics.with_recommendation().with_body_sizes());
        Self {
            site: Site::start(|client| client.observer(pool.clone())).await,
            layer: QueueMetricsLayer::new("billing"),
            pool,
        }
    }

    async fn call(&self, host: &str) -> Result<Bytes, Error> {
        let uri = format!("https://{host}:{}/", self.site.server.addr().port());
        let request = Request::get(uri).body(Empty::<Bytes>::new()).unwrap();
        let response = self
            .layer
            .layer(self.site.client.clone())
            .oneshot(request)
            .await;
        Ok(response?.into_body().collect().await.unwrap().to_bytes())
    }
}

/// Something of everything: one is served, one waits for it, one is refused; a name is not there;
/// a connection closes; and enough requests for a recommendation.
async fn live(observed: &Observed, report: impl Fn()) {
    let three = join_all((0..3).map(|_| observed.call("billing.internal"))).await;
    let kinds: Vec<_> = three
        .into_iter()
        .map(|call| call.map_err(|e| e.kind()))
        .collect();
    let ok = Ok(Bytes::from("ok"));
    assert_eq!(kinds, [ok.clone(), ok, Err(ErrorKind::QueueFull)]);
    let gone = observed.call("gone.internal").await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Dns);
    observed.site.client.close_idle();
    report();
    for _ in 0..1_000 {
        observed.call("billing.internal").await.unwrap();
    }
    tokio::time::pause();
    tokio::time::advance(REPORT_EVERY).await;
    tokio::time::resume();
    report();
}

/// A series' metric and its own labels.
fn parsed(series: &str) -> (String, BTreeSet<String>) {
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let metric = names::ALL.iter().find(|metric| match metric.kind {
        Kind::Histogram => {
            let rest = name.strip_prefix(metric.name);
            rest.is_some_and(|rest| ["_sum", "_count"].contains(&rest))
        }
        _ => metric.name == name,
    });
    let metric = metric.unwrap_or_else(|| panic!("{name} is not in the table"));
    let labels = labels.trim_end_matches('}').split(',');
    let keys = labels.filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
    let own = keys.filter(|key| !LABELS_OF_ALL.contains(&key.as_str()));
    (metric.name.to_owned(), own.collect())
}

#[tokio::test]
async fn metrics_of_a_real_client_match_the_table() {
    let observed = Observed::start().await;
    let recorder = Recorder::new();
    live(&observed, || {
        recorder.run(|| {
            observed.pool.report();
            observed.layer.report();
        });
    })
    .await;
    let mut emitted = BTreeMap::<_, BTreeSet<_>>::new();
    for series in recorder.series().into_keys() {
        let (metric, labels) = parsed(&series);
        emitted.entry(metric).or_default().extend(labels);
    }
    let table: BTreeMap<_, BTreeSet<_>> = names::ALL
        .iter()
        .map(|metric| {
            // A call that failed here had no head, and every head is a 200.
            let no_error = metric.name == names::RESPONSE_BODY_SIZE.name;
            let labels = metric.labels.iter();
            let labels = labels.filter(|label| !no_error || **label != names::ERROR);
            let labels = labels.map(|label| (*label).to_owned());
            (metric.name.to_owned(), labels.collect())
        })
        .collect();
    assert_eq!(emitted, table);
}
