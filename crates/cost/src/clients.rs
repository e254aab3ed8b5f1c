//! The clients, and what each does with its requests.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tollgate_keep_alive::{KeepAlive, KeepAliveLayer, Protocol};
use tollgate_queue_metrics::{PoolMetrics, names};
use tower::{Layer, Service, ServiceExt};

use crate::{h1, h2, origins, snapshot};

/// The requests between two reports: ten seconds at a hundred a second. A busier pool pays less for
/// each.
const REPORT_EVERY: u32 = 1_000;

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// The name of a client, beside its number of origins.
fn with_origins(client: &str) -> (&str, u32) {
    let named = client.split_once(' ');
    let numbered = named.and_then(|(name, origins)| Some((name, origins.parse().ok()?)));
    numbered.unwrap_or((client, 0))
}

/// Sends `requests` one after the other and prints how many allocations that took.
pub(crate) fn run(client: &str, addr: &str, requests: u32) {
    let info = allocation_counter::measure(|| {
        runtime().block_on(async {
            tokio::spawn(tokio::time::sleep(Duration::from_secs(3600)));
            let (client, origins) = with_origins(client);
            match client {
                "bare" => h1::bare(addr, requests).await,
                "origin" => {
                    let origin = format!("http://{addr}").parse().expect("an origin");
                    let pool = KeepAlive::new(connector());
                    let pool = pool.origin(&origin).expect("has a host");
                    through(pool, &Uri::from_static("/fast"), requests).await;
                }
                "pool" => through(KeepAlive::new(connector()), &uri(addr), requests).await,
                "client" => {
                    let client = tollgate::Client::builder().connector(connector()).build();
                    through(
                        client.expect("the defaults make sense"),
                        &uri(addr),
                        requests,
                    )
                    .await;
                }
                "pool+nothing" => observed_pool(addr, requests, false, false).await,
                "pool+metrics" => observed_pool(addr, requests, true, false).await,
                "pool+metrics+recorder" => observed_pool(addr, requests, true, true).await,
                "legacy" => {
                    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
                    through(client.build(connector()), &uri(addr), requests).await;
                }
                "reqwest" => reqwest(addr, requests).await,
                "opened" => origins::open(addr, requests).await,
                "dial" => origins::dial(addr, origins, requests).await,
                "pass" => origins::pass(addr, origins, requests).await,
                "snapshot" => snapshot::take(addr, requests / 10).await,
                "h2 bare" => h2::bare(addr, &uri(addr), requests).await,
                "h2 origin" => {
                    let origin = format!("http://{addr}").parse().expect("an origin");
                    let pool = of_streams().origin(&origin).expect("has a host");
                    through(pool, &Uri::from_static("/fast"), requests).await;
                }
                "h2 pool" => through(of_streams(), &uri(addr), requests).await,
                "h2 legacy" => {
                    let mut client =
                        hyper_util::client::legacy::Client::builder(TokioExecutor::new());
                    client.http2_only(true);
                    through(client.build(connector()), &uri(addr), requests).await;
                }
                other => panic!("no client {other}"),
            }
        });
    });
    writeln!(std::io::stdout(), "{}", info.count_total).ok();
}

/// The pool, with HTTP/2 by prior knowledge.
pub(crate) fn of_streams() -> KeepAlive {
    let layer = KeepAliveLayer::new().protocol(Protocol::Http2);
    layer.layer(connector())
}

/// The pool with its metrics; with a recorder, they are reported to it now and then.
async fn observed_pool(addr: &str, requests: u32, observed: bool, recorded: bool) {
    let metrics = Arc::new(PoolMetrics::new());
    let mut layer = KeepAliveLayer::new();
    if observed {
        layer = layer.observer(metrics.clone());
    }
    let pool = layer.layer(connector());
    let page = recorded.then(uncounted_exporter);
    for _ in 0..requests / REPORT_EVERY {
        through(pool.clone(), &uri(addr), REPORT_EVERY).await;
        if let Some(page) = &page {
            // Allocations are those of the requests: a report has its own, whatever came since.
            allocation_counter::opt_out(|| {
                metrics.report();
                page.run_upkeep();
            });
        }
    }
}

/// Not counted: the exporter measures its clock against the system's first, which takes as many
/// instructions as it happens to.
#[inline(never)]
fn uncounted_exporter() -> PrometheusHandle {
    let exporter = names::buckets().fold(PrometheusBuilder::new(), |exporter, (name, buckets)| {
        let name = Matcher::Full(name.to_owned());
        let with = exporter.set_buckets_for_metric(name, buckets);
        with.expect("buckets are not empty")
    });
    exporter.install_recorder().expect("is the only one")
}

pub(crate) fn uri(addr: &str) -> Uri {
    format!("http://{addr}/fast").parse().expect("a URI")
}

pub(crate) fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector
}

pub(crate) async fn through<S, B>(mut service: S, uri: &Uri, requests: u32)
where
    S: Service<Request<Empty<Bytes>>, Response = http::Response<B>, Error: std::fmt::Debug>,
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug> + Unpin,
{
    for _ in 0..requests {
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = uri.clone();
        let ready = service.ready().await.expect("is ready");
        let response = ready.call(request).await.expect("is answered");
        read(response.into_body()).await;
    }
}

async fn reqwest(addr: &str, requests: u32) {
    let client = reqwest::Client::new();
    let uri = format!("http://{addr}/fast");
    for _ in 0..requests {
        let mut response = client.get(&uri).send().await.expect("is answered");
        while response.chunk().await.expect("is whole").is_some() {}
    }
}

pub(crate) async fn read<B>(mut body: B)
where
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug> + Unpin,
{
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.expect("is whole");
        length += frame.data_ref().map_or(0, Bytes::len);
    }
    assert_eq!(length, 256);
}
