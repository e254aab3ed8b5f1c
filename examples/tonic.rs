//! tonic's clients over Tollgate, in both ways.
//!
//! A channel speaks HTTP/2 and owns its one connection, so what fits is below it (dial, cached DNS,
//! a connect budget that names the phase it ran out in: tonic bounds a connector of one's own only with
//! `Endpoint::connect_timeout`, as a whole) and above it (a limit: calls of a channel have no origin in
//! their URI, so all of them share one).
//!
//! A `tollgate::Client` takes the channel's place: a pool, its queue, its deadlines and its numbers.
//!
//! The stubs are written by hand, as `tonic-prost-build` would write them, so that no `protoc` is
//! needed.

use std::convert::Infallible;
use std::io::Write;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{BoxFuture, try_join_all};
use http::Uri;
use http::uri::PathAndQuery;
use tollgate::{Client, Protocol};
use tollgate_cached_dns::CachedDns;
use tollgate_connect_timeout::ConnectTimeoutLayer;
use tollgate_dial::Dial;
use tollgate_pool_limit::PoolLimitLayer;
use tonic::body::Body;
use tonic::client::{Grpc, GrpcService};
use tonic::server::{NamedService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Server};
use tonic::{Code, Request, Response, Status};
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
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Codec::default());
            Ok(grpc.unary(Self, request).await)
        })
    }
}

/// A hundred calls at once over any transport, each answered as it should be.
async fn greet<T>(client: Grpc<T>) -> Result<(), BoxError>
where
    T: GrpcService<Body> + Clone,
    T::Error: Into<BoxError>,
    T::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<BoxError> + Send,
{
    let calls = (0..100).map(|n| {
        let mut client = client.clone();
        async move {
            client.ready().await.map_err(Into::into)?;
            let mut request = Request::new(Hello {
                text: n.to_string(),
            });
            request.set_timeout(Duration::from_secs(2));
            let path = PathAndQuery::from_static(PATH);
            let answer = client.unary(request, path, Codec::default()).await?;
            if answer.into_inner().text == format!("hello, {n}") {
                Ok(())
            } else {
                Err("another call's answer".into())
            }
        }
    });
    try_join_all(calls).await.map(drop)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into())?;
    let port = incoming.local_addr()?.port();
    let server = Server::builder()
        .add_service(Greeter)
        .serve_with_incoming(incoming);
    let server = tokio::spawn(server);
    let uri = Uri::try_from(format!("http://localhost:{port}"))?;
    let mut out = std::io::stdout();

    let connector = ServiceBuilder::new()
        .layer(ConnectTimeoutLayer::new(Duration::from_secs(2)))
        .service(Dial::new(CachedDns::gai()));
    let channel = Endpoint::from(uri.clone()).connect_with_connector_lazy(connector);
    let channel = ServiceBuilder::new()
        .layer(PoolLimitLayer::per_origin(32)?)
        .service(channel);
    greet(Grpc::new(channel)).await?;
    writeln!(out, "channel: 100 answers")?;

    let client = Client::builder().protocol(Protocol::Http2).build()?;
    greet(Grpc::with_origin(client.clone(), uri.clone())).await?;
    let seen = client.stats(&uri.to_string()).ok_or("no such origin")?;
    writeln!(
        out,
        "client: 100 answers, {} granted on {} connection",
        seen.granted, seen.opened
    )?;
    if (seen.granted, seen.opened, seen.in_flight) != (100, 1, 0) {
        return Err(format!("a hundred calls on one connection, not {seen:?}").into());
    }

    server.abort();
    let _ended = server.await;
    let refused = greet(Grpc::with_origin(Client::new(), uri)).await;
    let error = refused.err().ok_or("nobody listens")?;
    match error.downcast_ref::<Status>() {
        Some(status) if status.code() == Code::Unavailable => Ok(()),
        _ => Err(error),
    }
}
