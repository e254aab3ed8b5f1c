//! The layers of the connect plane under tonic's channel, with TLS and h2 by ALPN.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use http::uri::PathAndQuery;
use tollgate::cached_dns::CachedDns;
use tollgate::connect_timeout::{ConnectTimedOut, ConnectTimeoutLayer};
use tollgate::dial::Dial;
use tollgate::find;
use tollgate::tls::{Alpn, TlsError, TlsFailure, TlsOptions};
use tollgate_testing::tls::{Authority, Server};
use tollgate_testing::{Listener, http2};
use tonic::client::Grpc;
use tonic::server::UnaryService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::ServiceBuilder;

#[derive(Clone, PartialEq, prost::Message)]
struct Hello {
    #[prost(string, tag = "1")]
    text: String,
}

type Codec = ProstCodec<Hello, Hello>;

/// Answers with what it was sent.
#[derive(Clone)]
struct Echo(Arc<AtomicUsize>);

impl UnaryService<Hello> for Echo {
    type Response = Hello;
    type Future = Ready<Result<Response<Hello>, Status>>;

    fn call(&mut self, request: Request<Hello>) -> Self::Future {
        self.0.fetch_add(1, SeqCst);
        ready(Ok(Response::new(request.into_inner())))
    }
}

fn channel(port: u16, tls: TlsOptions) -> Channel {
    let connector = ServiceBuilder::new()
        .layer(ConnectTimeoutLayer::new(Duration::from_millis(300)))
        .layer(tls.alpn(Alpn::Http2).layer().unwrap())
        .service(Dial::new(CachedDns::gai()));
    Endpoint::from_shared(format!("https://localhost:{port}"))
        .unwrap()
        .connect_with_connector_lazy(connector)
}

async fn call(channel: Channel, text: String) -> Result<String, Status> {
    let mut client = Grpc::new(channel);
    let ready = client.ready().await;
    ready.map_err(|error| Status::from_error(error.into()))?;
    let path = PathAndQuery::from_static("/echo.Echo/Say");
    let request = Request::new(Hello { text });
    let answer = client.unary(request, path, Codec::default()).await?;
    Ok(answer.into_inner().text)
}

#[tokio::test]
async fn tonic_channel_over_our_connector_speaks_h2() {
    let authority = Authority::new();
    let answered = Arc::new(AtomicUsize::new(0));
    let echo = Echo(Arc::clone(&answered));
    let server = Server::new(authority.issue("localhost")).serving(move |stream| {
        let echo = echo.clone();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let service = hyper::service::service_fn(move |request| {
            let echo = echo.clone();
            async move {
                let mut server = tonic::server::Grpc::new(Codec::default());
                Ok::<_, std::convert::Infallible>(server.unary(echo, request).await)
            }
        });
        http2::serve(stream, service)
    });
    let channel = channel(
        server.addr().port(),
        TlsOptions::new().root_pem(authority.pem()),
    );
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..1_000 {
        calls.spawn(call(channel.clone(), n.to_string()));
    }
    let mut sum = 0;
    while let Some(answer) = calls.join_next().await {
        sum += answer.unwrap().unwrap().parse::<u32>().unwrap();
    }
    assert_eq!((sum, answered.load(SeqCst)), (499_500, 1_000));
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_channel_reports_the_certificate_error() {
    let server = Server::new(Authority::new().issue("localhost")).start();
    let tls = TlsOptions::new().root_pem(Authority::new().pem());
    let status = call(channel(server.addr().port(), tls), String::new()).await;
    let status = status.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let tls = find::<TlsError>(&status).unwrap();
    assert_eq!(tls.failure(), TlsFailure::UnknownIssuer);
}

#[tokio::test]
async fn a_channel_reports_a_stalled_handshake() {
    let stalling = Listener::silent();
    let tls = TlsOptions::new().root_pem(Authority::new().pem());
    let status = call(channel(stalling.addr().port(), tls), String::new()).await;
    let status = status.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let late = find::<ConnectTimedOut>(&status).unwrap();
    assert_eq!(late.phase(), tollgate::Phase::Tls);
}
