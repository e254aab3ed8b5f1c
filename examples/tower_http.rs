//! tower-http's layers above a client: it sends requests and nothing else, and tracing, a timeout,
//! redirects, headers and decompression are layers that exist.
//!
//! The order is the point: the timeout counts redirects in, and the header is set on each of them.
//! Exits with a failure if an answer is not what the layers make of it.

use std::future::pending;
use std::io::Write;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use axum::response::Redirect;
use axum::routing::get;
use bytes::Bytes;
use http::header::{HeaderValue, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use tokio::net::TcpListener;
use tollgate::Client;
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_http::compression::CompressionLayer;
use tower_http::decompression::DecompressionLayer;
use tower_http::follow_redirect::FollowRedirectLayer;
use tower_http::set_header::SetRequestHeaderLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

const PATIENCE: Duration = Duration::from_millis(300);

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let server = TcpListener::bind(("127.0.0.1", 0)).await?;
    let origin = format!("http://{}", server.local_addr()?);
    tokio::spawn(async { axum::serve(server, upstream()).await });

    let client = Client::new();
    let service = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            PATIENCE,
        ))
        .layer(FollowRedirectLayer::new())
        .layer(SetRequestHeaderLayer::if_not_present(
            USER_AGENT,
            HeaderValue::from_static("billing/1"),
        ))
        .layer(DecompressionLayer::new())
        .service(client.clone());

    for (path, status, said) in [
        ("/old", StatusCode::OK, "invoices for billing/1"),
        ("/slow", StatusCode::GATEWAY_TIMEOUT, ""),
    ] {
        let request = Request::get(format!("{origin}{path}")).body(Empty::<Bytes>::new())?;
        let response = service.clone().oneshot(request).await?;
        assert_eq!(response.status(), status, "{path}");
        let body = response.into_body().collect().await?.to_bytes();
        assert_eq!(body, said, "{path}");
        let text = String::from_utf8_lossy(&body);
        writeln!(std::io::stdout(), "{path}: {status} {text:?}")?;
    }
    writeln!(std::io::stdout(), "{}", client.snapshot())?;
    Ok(())
}

/// Has moved its invoices, compresses them, and has one page that never comes.
fn upstream() -> Router {
    let invoices = |headers: HeaderMap| async move {
        let agent = headers
            .get(USER_AGENT)
            .and_then(|agent| agent.to_str().ok());
        format!("invoices for {}", agent.unwrap_or("nobody"))
    };
    let all = tower_http::compression::predicate::SizeAbove::new(0);
    Router::new()
        .route("/v1/invoices", get(invoices))
        .route(
            "/old",
            get(|| async { Redirect::permanent("/v1/invoices") }),
        )
        .route("/slow", get(pending::<()>))
        .layer(CompressionLayer::new().compress_when(all))
}
