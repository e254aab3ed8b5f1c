//! Stacks without TLS, or with TLS up to a proxy only.

use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body_util::Empty;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::Client as Legacy;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tollgate::cached_dns::CachedDns;
use tollgate::tls::TlsOptions;
use tollgate::{Client, ErrorKind, Protocol};
use tollgate_connect_timeout::ConnectTimeoutLayer;
use tollgate_dial::{Dial, DialError, DialFailure, DialLayer};
use tollgate_keep_alive::KeepAliveLayer;
use tollgate_testing::tls::{Authority, Server};
use tonic::transport::Endpoint;
use tower::{BoxError, Layer, Service, ServiceExt};

use crate::listener::Listener;
use crate::{calls_fail, says_why};

fn dial() -> Dial<CachedDns<tollgate::cached_dns::Gai>> {
    Dial::new(CachedDns::gai())
}

/// It would connect for `https`, as below a TLS layer.
fn unguarded() -> Dial<CachedDns<tollgate::cached_dns::Gai>> {
    DialLayer::new().below_tls().layer(CachedDns::gai())
}

fn http_connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector
}

/// Under the pool with each protocol, and as the facade's connector.
async fn refused_over<C>(connector: C)
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Read + Write + Connection + Unpin + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    let listener = Listener::start().await;
    let https = listener.uri("https");
    for protocol in [Protocol::Auto, Protocol::Http1, Protocol::Http2] {
        let pool = KeepAliveLayer::new().protocol(protocol);
        says_why(&calls_fail(pool.layer(connector.clone()), &https).await);
    }
    let client = Client::builder().connector(connector).build().unwrap();
    let error = client.get(https.clone()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(error.is_connect() && error.nothing_sent() && !error.is_retryable());
    assert!(error.to_string().contains("clear text"), "{error}");
    says_why(&calls_fail(client, &https).await);
    assert_eq!(listener.read().await, "");
}

#[tokio::test]
async fn a_pool_over_a_plain_dial_refuses_https() {
    refused_over(dial()).await;
    refused_over(ConnectTimeoutLayer::new(Duration::from_secs(5)).layer(dial())).await;
}

#[tokio::test]
async fn https_over_a_cleartext_connector_is_refused() {
    refused_over(unguarded()).await;
    refused_over(http_connector()).await;
}

#[tokio::test]
async fn a_dial_alone_refuses_https_before_it_resolves() {
    let asked = tower::service_fn(|_| async {
        panic!("resolved");
        #[expect(unreachable_code, reason = "gives the type")]
        Ok::<Vec<std::net::SocketAddr>, BoxError>(Vec::new())
    });
    for uri in ["https://a.test", "wss://a.test", "https://127.0.0.1:1"] {
        let dialling = Dial::new(asked).oneshot(Uri::from_static(uri));
        let error = dialling.await.err().unwrap();
        assert_eq!(error.failure(), DialFailure::Unencrypted, "{uri}");
        assert!(error.to_string().contains("below_tls"), "{error}");
        assert!(error.attempts().is_empty());
    }
}

#[tokio::test]
async fn legacy_client_over_plain_dial_refuses_https() {
    let listener = Listener::start().await;
    let client: Legacy<_, Empty<Bytes>> = Legacy::builder(TokioExecutor::new()).build(dial());
    says_why(&calls_fail(client.clone(), &listener.uri("https")).await);
    assert_eq!(listener.read().await, "");
    let answered = client.oneshot(crate::secret(&listener.uri("http"))).await;
    assert_eq!(answered.unwrap().status(), 200);
    assert!(listener.read().await.contains(crate::SECRET));
}

#[tokio::test]
async fn tonic_channel_over_plain_dial_refuses_https() {
    let listener = Listener::start().await;
    let endpoint = Endpoint::from_shared(listener.uri("https").to_string()).unwrap();
    let error = endpoint.connect_with_connector(dial()).await.err().unwrap();
    let dialled = tollgate::find::<DialError>(&error).unwrap();
    assert_eq!(dialled.failure(), DialFailure::Unencrypted);
    assert_eq!(listener.read().await, "");
}

#[tokio::test]
async fn pool_over_tunnel_refuses_https_without_tls() {
    let proxy = Listener::start().await;
    let origin = Uri::from_static("https://billing.test/");
    let tunnels = KeepAliveLayer::new().layer(Tunnel::new(proxy.uri("http"), dial()));
    says_why(&calls_fail(tunnels, &origin).await);
    let tunnels = Tunnel::new(proxy.uri("http"), http_connector());
    says_why(&calls_fail(KeepAliveLayer::new().layer(tunnels), &origin).await);
    let read = proxy.read().await;
    assert!(read.contains("CONNECT billing.test:443"), "{read}");
    assert!(!read.contains("hunter2"), "{read}");
}

/// The connection is TLS, but its other end is the proxy, which would read everything.
#[tokio::test]
async fn tls_to_a_proxy_does_not_cover_origin() {
    let authority = Authority::new();
    let (inside, mut seen) = mpsc::unbounded_channel();
    let proxy = Server::new(authority.issue("localhost"))
        .serving(move |stream| grant(stream, inside.clone()));
    let proxy_uri = format!("https://localhost:{}", proxy.addr().port());
    let tls = TlsOptions::new().root_pem(authority.pem()).layer().unwrap();
    let tunnels = Tunnel::new(proxy_uri.parse().unwrap(), tls.layer(dial()));
    let origin = Uri::from_static("https://billing.test/");
    let pool = KeepAliveLayer::new().layer(tunnels);
    says_why(&calls_fail(pool, &origin).await);
    for _ in 0..2 {
        let (connect, after) = seen.recv().await.unwrap();
        assert!(connect.starts_with("CONNECT billing.test:443"), "{connect}");
        assert_eq!(after, "");
    }
}

/// Grants a CONNECT; says what it was, and what came through the tunnel.
async fn grant(
    mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin,
    inside: mpsc::UnboundedSender<(String, String)>,
) {
    let mut connect = Vec::new();
    while !connect.ends_with(b"\r\n\r\n") {
        connect.push(stream.read_u8().await.unwrap());
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    stream.flush().await.unwrap();
    let mut after = Vec::new();
    let _end = stream.read_to_end(&mut after).await;
    let [connect, after] = [connect, after].map(|bytes| String::from_utf8(bytes).unwrap());
    inside.send((connect, after)).unwrap();
}
