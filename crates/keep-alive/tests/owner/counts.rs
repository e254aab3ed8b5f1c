//! Every count of the pool's options with nothing, and as many as there are.

use std::num::{NonZeroU64, NonZeroUsize};

use futures_util::FutureExt;
use tollgate_keep_alive::{
    Http1Options, Http2Options, KeepAlive, KeepAliveLayer, Protocol, RetryPolicy,
};
use tollgate_testing::http2::Http2Reply;
use tollgate_testing::{Connector, Http2Upstream, Reply, Upstream, eventually, within};
use tower::{Layer, Service};

use super::support::{LONG, cap, fetch, request};

const MAX: NonZeroUsize = NonZeroUsize::MAX;

type Setter = fn(KeepAliveLayer) -> KeepAliveLayer;

const OPTIONS: [(&str, Setter); 12] = [
    ("max_connections_per_origin", |layer| {
        layer.max_connections_per_origin(MAX)
    }),
    ("max_connecting_per_origin", |layer| {
        layer.max_connecting_per_origin(MAX)
    }),
    ("max_connections_total", |layer| {
        layer.max_connections_total(MAX)
    }),
    ("max_idle_per_origin", |layer| layer.max_idle_per_origin(0)),
    ("max_waiting", |layer| layer.max_waiting(usize::MAX)),
    ("no waiting", |layer| layer.max_waiting(0)),
    ("max_requests_per_connection", |layer| {
        layer.max_requests_per_connection(NonZeroU64::MAX)
    }),
    ("max_headers", |layer| {
        layer.http1(Http1Options::new().max_headers(usize::MAX))
    }),
    ("retry", |layer| {
        let mut retry = RetryPolicy::default();
        (retry.unsent, retry.buffer) = (u32::MAX, usize::MAX);
        layer.retry(retry)
    }),
    ("max_streams_per_connection", |layer| {
        layer.http2(Http2Options::new().max_streams_per_connection(MAX))
    }),
    ("max_http2_connections", |layer| {
        layer.http2(Http2Options::new().max_http2_connections(MAX))
    }),
    ("max_header_list_size", |layer| {
        layer.http2(Http2Options::new().max_header_list_size(u32::MAX))
    }),
];

/// A caller that went away in the middle of an exchange panicked under no limit on connections, and each
/// answer under none on header fields.
#[tokio::test]
async fn no_count_panics_or_loses_a_place() {
    let upstream = Upstream::start(|request| match &*request.target {
        "/never" => Reply::never(),
        _ => Reply::ok("ok"),
    })
    .await;
    for (name, set) in OPTIONS {
        for is_http2 in [false, true] {
            let streams = Http2Upstream::new(|request| match &*request.target {
                "/never" => Http2Reply::never(),
                _ => Http2Reply::ok("ok"),
            });
            let layer = set(cap(2));
            let pool: KeepAlive = if is_http2 {
                layer.protocol(Protocol::Http2).layer(streams.connector())
            } else {
                layer.layer(Connector::tcp(upstream.addr()))
            };
            let uri = |path: &str| format!("http://a.test{path}").parse().unwrap();
            for _ in 0..3 {
                let answered = within(LONG, fetch(&pool, &uri("/"))).await;
                assert_eq!(answered.unwrap(), "ok", "{name}");
                let mut call = Box::pin(pool.clone().call(request("GET", &uri("/never"))));
                assert!((&mut call).now_or_never().is_none());
                drop(call);
            }
            let is_at_rest = || {
                let stats = pool.snapshot().origins.remove(0);
                stats.in_flight + stats.queued == 0
            };
            eventually(is_at_rest).await;
        }
    }
}
