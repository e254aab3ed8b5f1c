//! The layer under the clients that people have: each must know a timeout for what it is.

use std::error::Error;
use std::future::pending;
use std::io;
use std::time::Duration;

use http_body_util::Empty;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tollgate_connect_timeout::{ConnectTimedOut, ConnectTimeoutLayer};
use tollgate_core::error::find;
use tower::{Layer, Service, ServiceExt, service_fn};

const LIMIT: Duration = Duration::from_millis(100);

/// Connectors that never connect.
fn black_hole<Req>() -> impl Service<
    Req,
    Response = TokioIo<TcpStream>,
    Error = io::Error,
    Future = impl Future<Output = io::Result<TokioIo<TcpStream>>> + Send,
> + Clone
+ Send {
    service_fn(|_: Req| pending())
}

fn assert_timed_out(error: &(dyn Error + 'static)) {
    let timed_out = find::<ConnectTimedOut>(error).expect("a ConnectTimedOut in the chain");
    assert_eq!(timed_out.limit(), LIMIT);
}

#[tokio::test(start_paused = true)]
async fn the_legacy_client_reports_a_connect_error() {
    let connector = ConnectTimeoutLayer::new(LIMIT).layer(black_hole());
    let client: legacy::Client<_, Empty<&[u8]>> =
        legacy::Client::builder(TokioExecutor::new()).build(connector);
    let started = Instant::now();
    let error = client
        .get(http::Uri::from_static("http://billing.test"))
        .await
        .unwrap_err();
    assert_eq!(started.elapsed(), LIMIT);
    assert!(error.is_connect());
    assert_timed_out(&error);
}

#[tokio::test]
async fn reqwest_sees_a_timeout_and_connect_error() {
    // The kernel accepts and the server is silent, so the connect hangs in TLS or, without it, in
    // a proxy's CONNECT: here in a connector layer that waits after connecting.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let client = reqwest::Client::builder()
        .no_proxy()
        .connector_layer(tower::layer::layer_fn(|inner| Stuck { inner }))
        .connector_layer(ConnectTimeoutLayer::new(LIMIT))
        .build()
        .unwrap();
    let error = client
        .get(format!("http://{addr}"))
        .send()
        .await
        .unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    assert!(error.is_connect(), "{error:?}");
    assert_timed_out(&error);
}

#[tokio::test(start_paused = true)]
async fn tonic_tells_that_the_server_is_unavailable() {
    let endpoint = tonic::transport::Endpoint::from_static("http://billing.test:50051");
    let connector = ConnectTimeoutLayer::new(LIMIT).layer(black_hole());
    let eager = endpoint
        .connect_with_connector(connector.clone())
        .await
        .unwrap_err();
    assert_timed_out(&eager);

    let channel = endpoint.connect_with_connector_lazy(connector);
    let request = http::Request::post("http://billing.test:50051/a.B/C")
        .body(tonic::body::Body::empty())
        .unwrap();
    let error = channel.oneshot(request).await.unwrap_err();
    assert_timed_out(&error);
    let status = tonic::Status::from_error(Box::new(error));
    assert_eq!(status.code(), tonic::Code::Unavailable);
}

/// Connects and then never says so.
#[derive(Clone)]
struct Stuck<S> {
    inner: S,
}

impl<S, Req> Service<Req> for Stuck<S>
where
    S: Service<Req>,
    S::Future: Send + 'static,
    S::Response: Send,
    S::Error: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = futures_util::future::BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let connect = self.inner.call(request);
        Box::pin(async move {
            let _connected = connect.await?;
            pending().await
        })
    }
}
