//! The demonstration, without an address to listen on.

use std::io::Write;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use tokio::net::TcpListener;
use tollgate::Client;
use tower::BoxError;

use crate::ops::Metrics;
use crate::proxy;

const REQUESTS: usize = 200;
const CONNECTIONS: usize = 16;
const LIMIT: Duration = Duration::from_secs(10);

/// An upstream that sends back what it is sent, as it comes; at `/count`, how many bytes that were.
pub(crate) fn echo() -> Router {
    Router::new()
        .route("/count", post(count))
        .fallback(async |request: Request| Response::new(request.into_body()))
}

async fn count(body: Body) -> Result<String, StatusCode> {
    let mut pieces = body.into_data_stream();
    let mut bytes = 0;
    while let Some(piece) = pieces.next().await {
        bytes += piece.map_err(|_| StatusCode::BAD_REQUEST)?.len();
    }
    Ok(bytes.to_string())
}

/// Sends requests through a gateway to an upstream of its own, and shuts it down.
pub(crate) async fn run(client: Client, metrics: Metrics) -> Result<(), BoxError> {
    let upstream = spawn(echo()).await?;
    let ops = spawn(metrics.router(client.clone())).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let here: Uri = format!("http://{}/", listener.local_addr()?).parse()?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async {
        // Asked to stop, or the sender is gone: either way.
        let _told_or_gone = stopped.await;
    };
    let gateway = proxy::serve(listener, client.clone(), upstream.clone(), stopped, LIMIT);
    let gateway = tokio::spawn(gateway);

    let caller = Client::new();
    let calls = (0..REQUESTS).map(|nth| fetch(&caller, &here, format!("invoice {nth}")));
    for (nth, body) in try_join_all(calls).await?.into_iter().enumerate() {
        assert_eq!(body, format!("invoice {nth}"));
    }
    let seen = client
        .stats(&upstream.to_string())
        .ok_or("no such origin")?;
    assert!(seen.opened <= CONNECTIONS as u64);
    let mut out = std::io::stdout();
    writeln!(out, "{REQUESTS} requests on {} connections", seen.opened)?;

    let page = caller.get(format!("{ops}metrics")).await?;
    let page = page.into_body().collect().await?.to_bytes();
    assert!(String::from_utf8_lossy(&page).contains("http_client_queued_requests"));
    let stats = caller.get(format!("{ops}stats")).await?;
    let stats = stats.into_body().collect().await?.to_bytes();
    let parsed: serde_json::Value = serde_json::from_slice(&stats)?;
    assert_eq!(parsed["origins"][0]["queued"], 0);
    writeln!(out, "{}", String::from_utf8_lossy(&stats))?;

    drop(stop);
    caller.close();
    let drained = gateway.await??;
    assert_eq!(drained, proxy::Drained::default());
    writeln!(out, "drained, {drained}")?;
    Ok(())
}

/// A client for the demonstration: fewer connections than requests, so that some wait.
pub(crate) const fn connections() -> usize {
    CONNECTIONS
}

async fn fetch(caller: &Client, to: &Uri, body: String) -> Result<Bytes, BoxError> {
    let request = http::Request::post(to.clone()).body(Full::new(Bytes::from(body)))?;
    let response = caller.request(request).await?;
    assert_eq!(response.status(), 200);
    Ok(
        tokio::time::timeout(Duration::from_secs(10), response.into_body().collect())
            .await??
            .to_bytes(),
    )
}

/// Serves on a free port for as long as the process lives.
async fn spawn(router: Router) -> Result<Uri, BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}/", listener.local_addr()?).parse()?;
    drop(tokio::spawn(axum::serve(listener, router).into_future()));
    Ok(uri)
}
