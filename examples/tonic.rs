//! A tonic channel over Tollgate's connector, under Tollgate's limit.
//!
//! The channel speaks HTTP/2 and owns its one connection, so what fits is below it (dial, cached DNS,
//! a connect budget for custom connectors, which tonic itself does not bound) and above it (a limit:
//! calls of a channel have no origin in their URI, so all of them share one). The stubs are written by
//! hand, as `tonic-prost-build` would write them, so that no `protoc` is needed.

use std::convert::Infallible;
use std::io::Write;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{BoxFuture, try_join_all};
use http::uri::PathAndQuery;
use tollgate_cached_dns::CachedDns;
use tollgate_connect_timeout::ConnectTimeoutLayer;
use tollgate_dial::Dial;
use tollgate_pool_limit::PoolLimitLayer;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::{BoxError, Service, ServiceBuilder};

#[derive(Clone, PartialEq, prost::Message)]
struct Hello {
    #[prost(string, tag = "1")]
    text: String,
}

type Codec = ProstCodec<Hello, Hello>;
const PATH: &str = "/greeter.Greeter/SayHello";

/// The server's side of the service.
#[derive(Clone)]
struct Greeter;

impl NamedService for Greeter {
    const NAME: &'static str = "greeter.Greeter";
}

impl UnaryService<Hello> for Greeter {
    type Response = Hello;
    type Future = BoxFuture<'static, Result<Response<Hello>, Status>>;

    fn call(&mut self, request: Request<Hello>) -> Self::Future {
        let text = format!("hello, {}", request.into_inner().text);
        Box::pin(async move { Ok(Response::new(Hello { text })) })
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
        Box::pin(async move { Ok(Grpc::new(Codec::default()).unary(Self, request).await) })
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into())?;
    let port = incoming.local_addr()?.port();
    let server = Server::builder()
        .add_service(Greeter)
        .serve_with_incoming(incoming);
    let server = tokio::spawn(server);

    let connector = ServiceBuilder::new()
        .layer(ConnectTimeoutLayer::new(Duration::from_secs(2)))
        .service(Dial::new(CachedDns::gai()));
    let channel = Endpoint::from_shared(format!("http://localhost:{port}"))?
        .connect_with_connector_lazy(connector);
    let channel = ServiceBuilder::new()
        .layer(PoolLimitLayer::per_origin(32)?)
        .service(channel);

    let calls = (0..100).map(|n| {
        let mut client = tonic::client::Grpc::new(channel.clone());
        async move {
            client.ready().await?;
            let request = Request::new(Hello {
                text: n.to_string(),
            });
            let path = PathAndQuery::from_static(PATH);
            let answer = client.unary(request, path, Codec::default()).await?;
            Ok::<_, BoxError>(answer.into_inner().text)
        }
    });
    let answers = try_join_all(calls).await?;
    writeln!(
        std::io::stdout(),
        "{} answers, the last: {:?}",
        answers.len(),
        answers.last()
    )?;
    server.abort();
    Ok(())
}
