//! The handler: one request to the upstream, its answer back, both bodies as they come.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use http::header::RETRY_AFTER;
use http::{Method, StatusCode, Uri};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tollgate::{Client, Error, ErrorKind};
use tower::BoxError;

use crate::{hop, target};

/// The time that callers have, once the pool is drained, to get an answer: a second, on top of the limit.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The state that handlers share.
#[derive(Clone)]
struct Gateway {
    client: Client,
    upstream: Uri,
    refused: Arc<AtomicUsize>,
}

/// The outcome for callers that were still there when the time was over.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Drained {
    /// Exchanges with the upstream that were cut.
    pub(crate) cut: usize,
    /// Requests that still waited for a connection, and were answered so.
    pub(crate) refused: usize,
}

impl fmt::Display for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cut, refused } = self;
        write!(
            f,
            "{cut} exchanges cut, {refused} refused while they waited"
        )
    }
}

/// Serves until `stop` ends. Then takes no new connections, gives exchanges in progress `limit` to
/// end, and cuts those that remain; it returns at most [`LAST_WORDS`] after that.
pub(crate) async fn serve(
    listener: TcpListener,
    client: Client,
    upstream: Uri,
    stop: impl Future<Output = ()> + Send + 'static,
    limit: Duration,
) -> Result<Drained, BoxError> {
    let refused = Arc::new(AtomicUsize::new(0));
    let gateway = Gateway {
        client: client.clone(),
        upstream,
        refused: refused.clone(),
    };
    let router = Router::new().fallback(proxy).with_state(gateway);
    // A head that waits for the acknowledgement of another costs 40 ms.
    let listener = listener.tap_io(|tcp| drop(tcp.set_nodelay(true)));
    let (stopping, stopped) = tokio::sync::oneshot::channel();
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, service).with_graceful_shutdown(async move {
        stop.await;
        // Whoever listens for it is this function.
        let _nobody = stopping.send(());
    });
    let mut server = tokio::spawn(server.into_future());
    let mut ended = tokio::select! {
        ended = &mut server => Some(ended),
        _ = stopped => timeout(limit, &mut server).await.ok(),
    };
    // The callers first, the pool after them: no request that was accepted is refused.
    let cut = client.drain(Duration::ZERO).await;
    if ended.is_none() {
        ended = timeout(LAST_WORDS, &mut server).await.ok();
    }
    if let Some(ended) = ended {
        ended??;
    }
    let refused = refused.load(Relaxed);
    Ok(Drained { cut, refused })
}

async fn proxy(
    State(gateway): State<Gateway>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
) -> Response {
    let method = request.method().clone();
    if method == Method::CONNECT {
        return StatusCode::NOT_IMPLEMENTED.into_response();
    }
    let Some(uri) = target::at(&gateway.upstream, &request) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    if let Err(status) = hop::request(&mut request, peer.ip()) {
        return status.into_response();
    }
    *request.uri_mut() = uri;
    let mut response = match gateway.client.request(request).await {
        Ok(response) => response,
        Err(error) => {
            // One that was cut, and came back to be sent again, is among those cut.
            if error.kind() == ErrorKind::Closed && error.timings().attempts == 0 {
                gateway.refused.fetch_add(1, Relaxed);
            }
            return failure(&error);
        }
    };
    if let Err(status) = hop::response(&mut response) {
        return (status, ErrorKind::Exchange.label()).into_response();
    }
    // If it breaks off, so does what the caller reads: the status is long gone.
    let mut response = response.map(Body::new);
    if method == Method::HEAD {
        // What follows a HEAD is empty, which axum would take for a length of 0.
        response = response.map(|body| Body::from_stream(body.into_data_stream()));
    }
    response
}

/// Returns the response for a failure: its kind, and nothing of the servers behind the gateway.
fn failure(error: &Error) -> Response {
    tracing::warn!(%error, "no response");
    let kind = error.kind();
    let mut response = (status(error), kind.label()).into_response();
    if kind == ErrorKind::QueueFull {
        response.headers_mut().insert(RETRY_AFTER, 1.into());
    }
    response
}

fn status(error: &Error) -> StatusCode {
    match error.kind() {
        ErrorKind::InvalidRequest => StatusCode::BAD_REQUEST,
        _ if error.is_timeout() => StatusCode::GATEWAY_TIMEOUT,
        // Nothing was sent: another instance may be asked. Else the upstream may have acted.
        ErrorKind::Closed => StatusCode::SERVICE_UNAVAILABLE,
        _ if error.is_retryable() => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_GATEWAY,
    }
}
