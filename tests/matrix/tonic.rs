//! The column of tonic: layers above a `Channel` and in its connector.
//!
//! Keep-alive is not under a channel, which owns its one connection: it is the transport in its place.

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use http::uri::PathAndQuery;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tollgate_connect_timeout::{ConnectTimedOut, ConnectTimeoutLayer};
use tollgate_core::BoxError;
use tollgate_core::error::find;
use tollgate_dial::Dial;
use tollgate_keep_alive::{Http2Options, KeepAliveLayer, Protocol};
use tollgate_pool_limit::PoolLimitLayer;
use tollgate_queue_metrics::QueueMetricsLayer;
use tollgate_testing::Hole;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::{Layer, Service, ServiceBuilder};

use crate::support::{BUDGET, CALLS, LIMIT, Names, assert_emitted, at_once};

#[derive(Clone, PartialEq, prost::Message)]
struct Hello {
    #[prost(string, tag = "1")]
    text: String,
}

type Codec = ProstCodec<Hello, Hello>;

/// The server's side: each call takes 5 ms and is counted.
#[derive(Clone, Default)]
struct Greeter {
    in_flight: Arc<AtomicUsize>,
    peak: Arc<AtomicUsize>,
}

impl NamedService for Greeter {
    const NAME: &'static str = "greeter.Greeter";
}

impl UnaryService<Hello> for Greeter {
    type Response = Hello;
    type Future = BoxFuture<'static, Result<Response<Hello>, Status>>;

    fn call(&mut self, request: Request<Hello>) -> Self::Future {
        let greeter = self.clone();
        Box::pin(async move {
            let now = greeter.in_flight.fetch_add(1, SeqCst) + 1;
            greeter.peak.fetch_max(now, SeqCst);
            sleep(Duration::from_millis(5)).await;
            greeter.in_flight.fetch_sub(1, SeqCst);
            Ok(Response::new(request.into_inner()))
        })
    }
}

impl Service<http::Request<Body>> for Greeter {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let greeter = self.clone();
        Box::pin(async move { Ok(Grpc::new(Codec::default()).unary(greeter, request).await) })
    }
}

struct Upstream {
    greeter: Greeter,
    accepted: Arc<AtomicUsize>,
    port: u16,
    server: JoinHandle<()>,
}

impl Upstream {
    #[expect(clippy::unused_async, reason = "it needs the runtime it is awaited in")]
    async fn start() -> Self {
        let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let port = incoming.local_addr().unwrap().port();
        let (greeter, accepted) = (Greeter::default(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&accepted);
        let incoming = incoming.inspect(move |_| {
            count.fetch_add(1, SeqCst);
        });
        let server = Server::builder().add_service(greeter.clone());
        let server = server.serve_with_incoming(incoming);
        let server = tokio::spawn(async { server.await.unwrap() });
        Self {
            greeter,
            accepted,
            port,
            server,
        }
    }

    /// A channel, which connects with its first call.
    fn channel(&self, names: &Names) -> Channel {
        let uri = format!("http://{}:{}", Names::HOST, self.port);
        let connector = ServiceBuilder::new()
            .layer(ConnectTimeoutLayer::new(Duration::from_secs(5)))
            .service(Dial::new(names.cached()));
        Endpoint::from_shared(uri)
            .unwrap()
            .connect_with_connector_lazy(connector)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn greet<S>(channel: S) -> Result<String, Status>
where
    S: GrpcService<Body>,
    S::Error: Into<BoxError>,
    S::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    <S::ResponseBody as http_body::Body>::Error: Into<BoxError> + Send,
{
    greet_by(tonic::client::Grpc::new(channel)).await
}

async fn greet_by<S>(mut client: tonic::client::Grpc<S>) -> Result<String, Status>
where
    S: GrpcService<Body>,
    S::Error: Into<BoxError>,
    S::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    <S::ResponseBody as http_body::Body>::Error: Into<BoxError> + Send,
{
    let ready = client.ready().await;
    ready.map_err(|error| Status::from_error(error.into()))?;
    let request = Request::new(Hello { text: "ok".into() });
    let path = PathAndQuery::from_static("/greeter.Greeter/SayHello");
    let answer = client.unary(request, path, Codec::default()).await?;
    Ok(answer.into_inner().text)
}

#[tokio::test]
async fn pool_limit_holds_its_cap_over_tonic_channel() {
    let (upstream, names) = (Upstream::start().await, Names::start().await);
    let channel = upstream.channel(&names);
    let limited = PoolLimitLayer::per_origin(LIMIT)
        .unwrap()
        .layer(channel.clone());
    at_once(CALLS, || async {
        assert_eq!(greet(limited.clone()).await.unwrap(), "ok");
    })
    .await;
    assert_eq!(upstream.greeter.peak.load(SeqCst), LIMIT);

    at_once(CALLS, || async {
        assert_eq!(greet(channel.clone()).await.unwrap(), "ok");
    })
    .await;
    assert!(upstream.greeter.peak.load(SeqCst) > LIMIT);
}

#[tokio::test]
async fn keep_alive_under_tonic_keeps_max_concurrent_streams() {
    let (upstream, names) = (Upstream::start().await, Names::start().await);
    let n = |n| NonZeroUsize::new(n).unwrap();
    let options = Http2Options::new()
        .max_streams_per_connection(n(LIMIT))
        .max_http2_connections(n(1));
    let pool = KeepAliveLayer::new()
        .protocol(Protocol::Http2)
        .http2(options)
        .layer(Dial::new(names.cached()));
    let origin: http::Uri = format!("http://{}:{}", Names::HOST, upstream.port)
        .parse()
        .unwrap();
    at_once(CALLS, || async {
        let client = tonic::client::Grpc::with_origin(pool.clone(), origin.clone());
        assert_eq!(greet_by(client).await.unwrap(), "ok");
    })
    .await;
    assert_eq!(upstream.greeter.peak.load(SeqCst), LIMIT);
    assert_eq!((upstream.accepted.load(SeqCst), names.queries()), (1, 1));
}

#[tokio::test]
async fn cached_dns_asks_once_for_forty_channels() {
    let (upstream, names) = (Upstream::start().await, Names::start().await);
    let dial = Dial::new(names.cached());
    let endpoint = format!("http://{}:{}", Names::HOST, upstream.port);
    let endpoint = Endpoint::from_shared(endpoint).unwrap();
    at_once(CALLS, || async {
        let channel = endpoint.connect_with_connector_lazy(dial.clone());
        assert_eq!(greet(channel).await.unwrap(), "ok");
    })
    .await;
    assert_eq!(
        (upstream.accepted.load(SeqCst), names.queries()),
        (CALLS, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn connect_timeout_ends_an_unanswered_connect_at_budget() {
    let (hole, names) = (Hole::start([127, 0, 0, 1]).await, Names::start().await);
    let endpoint = Endpoint::from_shared(format!("http://{}", hole.addr())).unwrap();
    let connector = ConnectTimeoutLayer::new(BUDGET).layer(Dial::new(names.cached()));
    let channel = endpoint.connect_with_connector_lazy(connector);
    let started = Instant::now();
    let status = greet(channel).await.unwrap_err();
    assert_eq!(started.elapsed(), BUDGET);
    assert_eq!(status.code(), Code::Unavailable);
    assert!(find::<ConnectTimedOut>(&status).is_some(), "{status:?}");
}

#[tokio::test]
async fn queue_metrics_counts_calls_to_their_bodys_end() {
    let (upstream, names) = (Upstream::start().await, Names::start().await);
    let metrics = QueueMetricsLayer::new("billing");
    let channel = metrics.layer(upstream.channel(&names));
    at_once(CALLS, || async {
        assert_eq!(greet(channel.clone()).await.unwrap(), "ok");
    })
    .await;
    assert_emitted(&metrics, CALLS);
}
