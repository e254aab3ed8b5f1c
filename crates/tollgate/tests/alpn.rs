//! What TLS agrees on by ALPN, what it cannot, and a peer that takes it back.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use http::{Request, Response, Version};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use support::{client_with, text};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tollgate::cached_dns::StaticHosts;
use tollgate::tls::{Alpn, TlsError, TlsFailure, TlsOptions};
use tollgate::{Client, ErrorKind, Protocol, find};
use tollgate_testing::tls::{Authority, Server};
use tollgate_testing::{Listener, http2};

const HOST: &str = "billing.internal";

fn client(authority: &Authority, protocol: Protocol, alpn: Alpn) -> Client {
    let options = TlsOptions::new().root_pem(authority.pem()).alpn(alpn);
    client_with(|b| {
        let here = StaticHosts::new().host(HOST, [[127, 0, 0, 1].into()]);
        b.resolver(here).tls(options).protocol(protocol)
    })
}

fn uri(server: &Listener) -> String {
    format!("https://{HOST}:{}/", server.addr().port())
}

/// The handshake fails for want of a protocol, and the error has these words.
async fn fails(client: &Client, server: &Listener, words: &[&str]) {
    let error = client.get(uri(server)).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    let tls = find::<TlsError>(&error).unwrap();
    assert_eq!(tls.failure(), TlsFailure::NoCommonProtocol, "{error:?}");
    let said = tls.to_string();
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
}

#[tokio::test]
async fn no_common_protocol_names_what_alpn_offered() {
    let authority = Authority::new();
    let old = Server::new(authority.issue(HOST)).alpn(&["http/1.1"]);
    let new = Server::new(authority.issue(HOST)).alpn(&["h2"]);
    let (old, new) = (old.start(), new.start());
    let by_alpn = client(&authority, Protocol::Auto, Alpn::Http2);
    fails(&by_alpn, &old, &["offered: h2", "TlsOptions::alpn"]).await;
    let by_protocol = client(&authority, Protocol::Http2, Alpn::Http1);
    let words = ["offered: h2", "leave Protocol::Http2 out"];
    fails(&by_protocol, &old, &words).await;
    let http1 = client(&authority, Protocol::Auto, Alpn::Http1);
    fails(&http1, &new, &["offered: http/1.1", "TlsOptions::alpn"]).await;
}

/// HTTP/1.1 was once spoken to it without a word.
#[tokio::test]
async fn http2_only_fails_against_peer_without_alpn() {
    let authority = Authority::new();
    let server = Server::new(authority.issue(HOST)).alpn(&[]).start();
    let http2 = client(&authority, Protocol::Auto, Alpn::Http2);
    fails(&http2, &server, &["offered: h2"]).await;
    let either = client(&authority, Protocol::Auto, Alpn::Auto);
    assert_eq!(text(either.get(uri(&server)).await.unwrap()).await, "ok");
}

/// Requires HTTP/1.1 of every request over HTTP/2, and answers those over HTTP/1.1 with their bodies.
async fn wants_http1(stream: TlsStream<TcpStream>, refused: Arc<AtomicUsize>) {
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(&b"h2"[..]);
    if is_http2 {
        let refuse = service_fn(move |_| {
            refused.fetch_add(1, SeqCst);
            let reason = h2::Error::from(h2::Reason::HTTP_1_1_REQUIRED);
            async { Err::<Response<String>, _>(reason) }
        });
        http2::serve(stream, refuse).await;
    } else {
        let echo = service_fn(|request: Request<hyper::body::Incoming>| async {
            Ok::<_, Infallible>(Response::new(request.into_body()))
        });
        let builder = hyper::server::conn::http1::Builder::new();
        let _ended = builder.serve_connection(TokioIo::new(stream), echo).await;
    }
}

#[tokio::test]
async fn http_1_1_required_falls_back_to_http1() {
    let authority = Authority::new();
    let refused = Arc::new(AtomicUsize::new(0));
    let counted = refused.clone();
    let server = Server::new(authority.issue(HOST))
        .serving(move |stream| wants_http1(stream, counted.clone()));
    let client = client(&authority, Protocol::Auto, Alpn::Auto);
    for _ in 0..3 {
        let request = Request::post(uri(&server))
            .body(Full::<bytes::Bytes>::from("paid"))
            .unwrap();
        let response = client.request(request).await.unwrap();
        assert_eq!(response.version(), Version::HTTP_11);
        assert_eq!(text(response).await, "paid");
    }
    assert_eq!(refused.load(SeqCst), 1, "HTTP/1.1 is remembered");
    assert_eq!(server.accepted(), 2, "and its connection kept");
    let detail = client.detail(&uri(&server)).unwrap();
    let protocols = detail
        .connections
        .iter()
        .map(|connection| connection.protocol);
    assert_eq!(protocols.collect::<Vec<_>>(), ["http/1.1"]);
}

#[tokio::test]
async fn http_1_1_required_burst_loses_no_call() {
    let authority = Authority::new();
    let server = Server::new(authority.issue(HOST))
        .serving(|stream| wants_http1(stream, Arc::new(AtomicUsize::new(0))));
    let client = client(&authority, Protocol::Auto, Alpn::Auto);
    let calls: Vec<_> = (0..40)
        .map(|_| {
            let (client, uri) = (client.clone(), uri(&server));
            tokio::spawn(async move { client.get(uri).await.map(|answer| answer.version()) })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), Version::HTTP_11);
    }
}
