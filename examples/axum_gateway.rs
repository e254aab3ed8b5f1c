//! A reverse proxy: axum in front, Tollgate behind, bodies streamed both ways.
//!
//! It starts an upstream and the gateway, sends requests through both, then shuts down: the server
//! first, the pool after it. `/stats` is the pool's snapshot as JSON.

use std::io::Write;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::future::try_join_all;
use http_body_util::{BodyExt, Empty};
use tollgate::Client;
use tollgate_testing::Plain;
use tower::BoxError;

/// What the handlers share.
#[derive(Clone)]
struct Gateway {
    client: Client,
    upstream: String,
}

async fn proxy(State(gateway): State<Gateway>, mut request: Request) -> Response {
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let Ok(uri) = format!("{}{path}", gateway.upstream).parse::<Uri>() else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    *request.uri_mut() = uri;
    remove_hop_by_hop(request.headers_mut());
    request.headers_mut().remove(http::header::HOST);
    match gateway.client.request(request).await {
        Ok(mut response) => {
            remove_hop_by_hop(response.headers_mut());
            response.map(Body::new)
        }
        // Nothing was sent: another instance may be asked. Else the upstream may have acted.
        Err(error) if error.is_retryable() => {
            (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response()
        }
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

async fn stats(State(gateway): State<Gateway>) -> Response {
    match serde_json::to_string(&gateway.client.snapshot()) {
        Ok(json) => json.into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// What concerns one connection only (RFC 9110 section 7.6.1).
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
    ] {
        headers.remove(name);
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let upstream = Plain::builder()
        .latency(Duration::from_millis(2))
        .body("hello")
        .start()
        .await;
    let client = Client::builder().max_connections_per_origin(16).build()?;
    let gateway = Gateway {
        client: client.clone(),
        upstream: format!("http://{}", upstream.addr()),
    };
    let router = Router::new()
        .route("/stats", get(stats))
        .fallback(proxy)
        .with_state(gateway);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let here = listener.local_addr()?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = axum::serve(listener, router).with_graceful_shutdown(async {
        // Told to stop, or the one who could tell is gone: either way.
        let _told_or_gone = stopped.await;
    });
    let server = tokio::spawn(server.into_future());

    let caller = Client::new();
    let fetch = |path: &'static str| {
        let caller = caller.clone();
        async move {
            let uri: Uri = format!("http://{here}{path}").parse()?;
            let request = http::Request::get(uri).body(Empty::<Bytes>::new())?;
            let response = caller.request(request).await?;
            Ok::<_, BoxError>(response.into_body().collect().await?.to_bytes())
        }
    };
    let bodies = try_join_all((0..200).map(|_| fetch("/"))).await?;
    assert!(bodies.iter().all(|body| body == "hello"));
    let seen = upstream.stats();
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{} requests on {} connections",
        seen.requests, seen.accepted
    )?;
    writeln!(out, "{}", String::from_utf8_lossy(&fetch("/stats").await?))?;

    drop(stop);
    caller.close();
    server.await??;
    let cut = client.drain(Duration::from_secs(5)).await;
    writeln!(out, "drained, {cut} exchanges cut")?;
    Ok(())
}
