//! What a real client emits, over TLS and through a real resolver, is what the table of metrics says:
//! every metric with its own labels, and nothing else.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../crates/queue-metrics/tests/common/mod.rs"]
mod common;
#[path = "../crates/tollgate/tests/support/tls.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod tls;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use common::Recorder;
use futures_util::future::join_all;
use http::Request;
use http_body_util::{BodyExt, Empty};
use tollgate::cached_dns::Hickory;
use tollgate::tls::TlsOptions;
use tollgate::{Client, Error, ErrorKind};
use tollgate_queue_metrics::names::{self, Kind};
use tollgate_queue_metrics::{PoolMetrics, QueueMetricsLayer, REPORT_EVERY};
use tollgate_testing::DnsServer;
use tollgate_testing::dns::Answer;
use tower::{Layer, ServiceExt};

/// The labels that series have besides those in the table.
const COMMON: [&str; 5] = [
    names::SERVER_ADDRESS,
    names::SERVER_PORT,
    names::DNS_LABEL,
    names::SERVICE_LABEL,
    names::POOL_LABEL,
];

struct Site {
    pool: Arc<PoolMetrics>,
    layer: QueueMetricsLayer,
    client: Client,
    server: tls::Running,
    _dns: DnsServer,
}

impl Site {
    async fn start() -> Self {
        let authority = tls::Authority::new();
        let server = tls::Server::new(authority.issue("billing.internal"));
        let dns = DnsServer::start().await;
        dns.set("billing.internal", Answer::addrs([[127, 0, 0, 1].into()]));
        dns.set("gone.internal", Answer::nxdomain());
        let metrics = PoolMetrics::new().pool("main").with_connection_duration();
        let pool = Arc::new(metrics.with_recommendation());
        let trust = TlsOptions::new().webpki_roots(false);
        let client = Client::builder()
            .resolver(Hickory::with_nameservers([dns.addr()]).unwrap())
            .tls(trust.root_pem(authority.pem()))
            .max_connections_per_origin(1)
            .max_waiting(1)
            .observer(pool.clone())
            .build();
        Self {
            pool,
            layer: QueueMetricsLayer::new("billing"),
            client: client.unwrap(),
            server: server.start().await,
            _dns: dns,
        }
    }

    async fn call(&self, host: &str) -> Result<Bytes, Error> {
        let uri = format!("https://{host}:{}/", self.server.addr.port());
        let request = Request::get(uri).body(Empty::<Bytes>::new()).unwrap();
        let response = self.layer.layer(self.client.clone()).oneshot(request).await;
        Ok(response?.into_body().collect().await.unwrap().to_bytes())
    }
}

/// Something of everything: one is served, one waits for it, one is refused; a name is not there;
/// a connection closes; and enough requests for a recommendation.
async fn live(site: &Site, report: impl Fn()) {
    let three = join_all((0..3).map(|_| site.call("billing.internal"))).await;
    let kinds: Vec<_> = three
        .into_iter()
        .map(|call| call.map_err(|e| e.kind()))
        .collect();
    let ok = Ok(Bytes::from("ok"));
    assert_eq!(kinds, [ok.clone(), ok, Err(ErrorKind::QueueFull)]);
    let gone = site.call("gone.internal").await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Dns);
    site.client.close_idle();
    report();
    for _ in 0..1_000 {
        site.call("billing.internal").await.unwrap();
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
    let own = keys.filter(|key| !COMMON.contains(&key.as_str()));
    (metric.name.to_owned(), own.collect())
}

#[tokio::test]
async fn what_a_real_client_emits_is_what_the_table_says() {
    let site = Site::start().await;
    let recorder = Recorder::new();
    live(&site, || {
        recorder.run(|| {
            site.pool.report();
            site.layer.report();
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
            let labels = metric.labels.iter().map(|label| (*label).to_owned());
            (metric.name.to_owned(), labels.collect())
        })
        .collect();
    assert_eq!(emitted, table);
}
