//! Stacks with TLS, which go on working.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt, Empty};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tollgate::Client;
use tollgate::cached_dns::{CachedDns, Gai};
use tollgate::tls::TlsOptions;
use tollgate_dial::{Dial, DialLayer};
use tollgate_keep_alive::{AssumeTls, KeepAliveErrorKind, KeepAliveLayer};
use tollgate_testing::tls::{Authority, Server};
use tollgate_testing::{Listener, Reply, Upstream};
use tower::{Layer, Service, ServiceExt};

use crate::{calls_fail, says_why, secret};

struct Site {
    authority: Authority,
    server: Listener,
}

impl Site {
    fn start() -> Self {
        let authority = Authority::new();
        let server = Server::new(authority.issue("localhost")).start();
        Self { authority, server }
    }

    fn uri(&self) -> Uri {
        let port = self.server.addr().port();
        format!("https://localhost:{port}/").parse().unwrap()
    }

    fn options(&self) -> TlsOptions {
        TlsOptions::new().root_pem(self.authority.pem())
    }

    /// hyper-rustls by hand, which says nothing of TLS for HTTP/1.1.
    fn foreign<C>(&self, connector: C) -> HttpsConnector<C> {
        let pem = self.authority.pem();
        let mut roots = rustls::RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        roots.add(root).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector)
    }
}

fn below_tls() -> Dial<CachedDns<Gai>> {
    DialLayer::new().below_tls().layer(CachedDns::gai())
}

#[tokio::test]
async fn tls_layer_gets_its_connection_from_plain_dial() {
    let site = Site::start();
    let connector = site.options().layer().unwrap();
    let connector = connector.layer(Dial::new(CachedDns::gai()));
    let pool = KeepAliveLayer::new().layer(connector.clone());
    let answer = pool.oneshot(secret(&site.uri())).await.unwrap();
    assert_eq!(answer.status(), 200);
    let client = Client::builder().connector(connector.clone());
    let answer = client.build().unwrap().request(secret(&site.uri())).await;
    assert_eq!(answer.unwrap().status(), 200);
    let legacy: Legacy<_, Empty<Bytes>> = Legacy::builder(TokioExecutor::new()).build(connector);
    let answer = legacy.oneshot(secret(&site.uri())).await.unwrap();
    assert_eq!(answer.status(), 200);
}

/// A layer between them that first calls the dial when it is polled, as `async` blocks do.
#[tokio::test]
async fn tls_layer_dials_through_a_lazy_layer() {
    let site = Site::start();
    let late =
        tower::service_fn(|uri| async move { Dial::new(CachedDns::gai()).oneshot(uri).await });
    let pool = KeepAliveLayer::new().layer(site.options().layer().unwrap().layer(late));
    let answer = pool.oneshot(secret(&site.uri())).await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn client_with_own_dial_speaks_https() {
    let site = Site::start();
    for dial in [DialLayer::new(), DialLayer::new().below_tls()] {
        let client = Client::builder().dial(dial).tls(site.options());
        let client = client.resolver(Gai::new()).build().unwrap();
        let answer = client.request(secret(&site.uri())).await.unwrap();
        assert_eq!(answer.status(), 200);
    }
}

#[tokio::test]
async fn hyper_rustls_needs_a_dial_below_tls() {
    let site = Site::start();
    let legacy: Legacy<_, Empty<Bytes>> =
        Legacy::builder(TokioExecutor::new()).build(site.foreign(below_tls()));
    let answer = legacy.oneshot(secret(&site.uri())).await.unwrap();
    assert_eq!(answer.status(), 200);
    let unsaid = site.foreign(Dial::new(CachedDns::gai()));
    says_why(
        &calls_fail(
            KeepAliveLayer::new().layer(AssumeTls::new(unsaid)),
            &site.uri(),
        )
        .await,
    );
}

#[tokio::test]
async fn pool_trusts_hyper_rustls_only_with_assume_tls() {
    let site = Site::start();
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    says_why(
        &calls_fail(
            KeepAliveLayer::new().layer(site.foreign(http.clone())),
            &site.uri(),
        )
        .await,
    );
    for _ in 0..2 {
        let connector = AssumeTls::new(site.foreign(http.clone()));
        let pool = KeepAliveLayer::new().layer(connector);
        let answer = pool.oneshot(secret(&site.uri())).await.unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "ok");
    }
    let connector = AssumeTls::new(site.foreign(below_tls()));
    let client = Client::builder().connector(connector).build().unwrap();
    let answer = client.request(secret(&site.uri())).await.unwrap();
    assert_eq!(answer.status(), 200);
}

/// The first connection is taken for TLS and dies; the one that is dialled for the retry is not.
#[tokio::test]
async fn a_retry_is_not_sent_over_clear_text() {
    let answered = AtomicUsize::new(0);
    let upstream = Upstream::start(move |_| match answered.fetch_add(1, SeqCst) {
        0 => Reply::ok("ok"),
        _ => Reply::raw("").close(),
    })
    .await;
    let uri: Uri = format!("https://{}/", upstream.addr()).parse().unwrap();
    let dials = Arc::new(AtomicUsize::new(0));
    let counted = dials.clone();
    let first_says_so = tower::service_fn(move |uri: Uri| {
        let nth = counted.fetch_add(1, SeqCst);
        let to = upstream_addr(&uri);
        async move {
            let said = if nth == 0 {
                uri
            } else {
                Uri::from_static("http://a.test")
            };
            AssumeTls::new(tower::service_fn(move |_| async move {
                tokio::net::TcpStream::connect(to).await.map(TokioIo::new)
            }))
            .call(said)
            .await
        }
    });
    let pool = KeepAliveLayer::new().layer(first_says_so);
    let answer = pool.clone().oneshot(secret(&uri)).await.unwrap();
    let _body = answer.into_body().collect().await.unwrap();
    let error = pool.oneshot(secret(&uri)).await.err().unwrap();
    assert_eq!(error.kind(), KeepAliveErrorKind::Connect);
    says_why(&error.into());
    assert_eq!(dials.load(SeqCst), 2);
    assert_eq!(upstream.requests().len(), 2, "and none on the second");
}

fn upstream_addr(uri: &Uri) -> std::net::SocketAddr {
    uri.authority().unwrap().as_str().parse().unwrap()
}
