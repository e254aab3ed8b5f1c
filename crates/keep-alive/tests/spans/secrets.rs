//! No span and no event tells what is nobody's business, whoever speaks: paths, queries, user names,
//! passwords, headers and bodies of either side.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::client::legacy::connect::Connected;
use tollgate_keep_alive::KeepAlive;
use tollgate_testing::{Connector, Listener, Reply, Upstream, http2};
use tower::{Layer, Service, ServiceExt};

use crate::listener::{SpanRecord, Spans, told};
use crate::support::cap;

const SECRET: &str = "hunter2";

/// A request that is secret all over, to `to`.
fn secret(scheme: &str, to: &str) -> Request<Full<Bytes>> {
    let uri = match scheme {
        "" => format!("/{SECRET}?token={SECRET}"),
        _ => format!("{scheme}://user:{SECRET}@{to}/{SECRET}?token={SECRET}"),
    };
    Request::post(uri)
        .header("authorization", SECRET)
        .header("x-key", SECRET)
        .body(Full::new(Bytes::from(SECRET)))
        .unwrap()
}

/// Sends it, and reads what comes.
async fn exchange(pool: &KeepAlive, request: Request<Full<Bytes>>) {
    if let Ok(response) = pool.clone().oneshot(request).await {
        drop(response.into_body().collect().await);
    }
}

#[track_caller]
fn nothing_told(spans: &Spans) {
    let told = format!("{:?} {:?}", spans.all(), spans.events());
    assert!(!told.contains(SECRET), "{told}");
}

#[test]
fn http1_tells_no_secret() {
    let spans = Spans::default();
    spans.of(async {
        let upstream = Upstream::start(|request| match request.arrival {
            0 => Reply::ok(SECRET).header("set-cookie", SECRET),
            1 => Reply::raw("hunter2 hunter2\r\n\r\n"),
            _ => Reply::nothing().close(),
        });
        let upstream = upstream.await;
        let layer = cap(1).max_waiting(0).observer(Arc::new(Panics));
        let pool = layer.layer(told(&upstream));
        let to = upstream.addr().to_string();
        for _ in 0..3 {
            exchange(&pool, secret("http", &to)).await;
        }
        // Refused, and no request at all.
        let held = pool.clone().call(secret("http", &to));
        exchange(&pool, secret("http", &to)).await;
        drop(held);
        exchange(&pool, secret("", &to)).await;
        let nowhere = Connector::tcp(SocketAddr::from(([127, 0, 0, 1], 1)));
        exchange(&cap(1).layer(nowhere), secret("http", &to)).await;
    });
    let attempts = spans.attempts();
    let outcomes: Vec<_> = attempts
        .iter()
        .map(|told| &*told.fields["outcome"])
        .collect();
    let [answered, failed, refused] = ["\"answered\"", "\"failed\"", "\"refused\""];
    for outcome in [answered, failed, refused] {
        assert!(outcomes.contains(&outcome), "{outcomes:?}");
    }
    assert!(
        !spans.events().is_empty(),
        "an observer that panics is told of"
    );
    nothing_told(&spans);
}

/// h2 has spans and events of its own.
#[test]
fn http2_tells_no_secret() {
    let spans = Spans::default();
    spans.of(async {
        let upstream = Upstream::start(|_| Reply::ok("ok")).await;
        let http2 = http2_server();
        for to in [http2.addr(), upstream.addr()] {
            let connector = Connector::tcp(to).connected(|| Connected::new().negotiated_h2());
            exchange(&cap(1).layer(connector), secret("https", &to.to_string())).await;
        }
    });
    let answered = |told: &SpanRecord| told.fields["outcome"].contains("answered");
    assert!(spans.attempts().iter().any(answered));
    let targets: Vec<_> = spans.events().iter().map(|(target, _)| *target).collect();
    assert!(targets.iter().any(|target| target.starts_with("h2")));
    nothing_told(&spans);
}

/// It answers secrets.
fn http2_server() -> Listener {
    Listener::start(|stream| {
        let answer = service_fn(|_| async {
            let body = Full::new(Bytes::from(SECRET));
            Response::builder().header("set-cookie", SECRET).body(body)
        });
        http2::serve(stream, answer)
    })
}

/// An observer that the pool has to tell of.
struct Panics;

impl tollgate_core::Observer for Panics {
    fn on_event(&self, event: &tollgate_core::Event<'_>) {
        if let tollgate_core::Event::Opened { .. } = event {
            panic!("an observer that panics");
        }
    }
}
