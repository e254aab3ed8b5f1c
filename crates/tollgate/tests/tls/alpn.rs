//! The protocol that ALPN agrees on.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use hyper::body::Incoming;
use hyper::service::{HttpService, service_fn};
use tollgate::cached_dns::StaticHosts;
use tollgate::tls::{Alpn, TlsOptions};
use tollgate::{Client, Protocol};
use tollgate_testing::http2;
use tollgate_testing::tls::{Authority, Server};

use super::{HOST, client, trusting, uri};
use crate::support::{client_with, text};

#[tokio::test]
async fn alpn_decides_the_protocol_the_connection_reports() {
    use hyper_util::client::legacy::connect::Connection;
    use tower::{Layer, Service};
    let authority = Authority::new();
    // It offers both, h2 first.
    let server = Server::new(authority.issue("localhost")).start();
    let uri: http::Uri = format!("https://localhost:{}/", server.addr().port())
        .parse()
        .unwrap();
    for (alpn, h2) in [
        (Alpn::Http1, false),
        (Alpn::Http2, true),
        (Alpn::Auto, true),
    ] {
        let names =
            tollgate::cached_dns::CachedDnsLayer::new().layer(tollgate::cached_dns::Gai::new());
        let options = trusting(&authority).alpn(alpn);
        let dial = tollgate::dial::DialLayer::new().layer(names);
        let mut connector = options.layer().unwrap().layer(dial);
        let stream = connector.call(uri.clone()).await.unwrap();
        assert_eq!(stream.connected().is_negotiated_h2(), h2, "{alpn:?}");
    }
    // What the pool is not to speak, a client does not offer.
    let error = Client::builder()
        .protocol(Protocol::Http1)
        .tls(TlsOptions::new().alpn(Alpn::Auto))
        .build()
        .unwrap_err();
    assert_eq!(error.field(), "tls");
}

/// Answers with `ok`.
fn ok() -> impl HttpService<Incoming, ResBody = String, Error = Infallible, Future: Send> {
    service_fn(async |_| Ok(http::Response::new("ok".to_owned())))
}

#[tokio::test]
async fn fifty_cold_http2_calls_share_one_connection() {
    let authority = Authority::new();
    let server = Server::new(authority.issue(HOST)).serving(|stream| http2::serve(stream, ok()));
    let client = client(trusting(&authority).alpn(Alpn::Auto));
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let (client, uri) = (client.clone(), uri(&server));
            tokio::spawn(async move { client.get(uri).await })
        })
        .collect();
    for call in calls {
        let response = call.await.unwrap().unwrap();
        assert_eq!(response.version(), http::Version::HTTP_2);
        assert_eq!(text(response).await, "ok");
    }
    assert_eq!(server.accepted(), 1);
    let detail = client.detail(&uri(&server)).unwrap();
    assert_eq!(detail.connections[0].protocol, "h2");
}

/// `http/1.1` was once offered, and HTTP/2 spoken all the same.
#[tokio::test]
async fn http2_without_asking_is_what_alpn_offers() {
    let authority = Authority::new();
    let agreed = Arc::new(Mutex::new(None));
    let noted = agreed.clone();
    let server = Server::new(authority.issue(HOST)).serving(move |stream| {
        *noted.lock().unwrap() = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        http2::serve(stream, ok())
    });
    let client = client_with(|b| {
        let here = StaticHosts::new().host(HOST, [[127, 0, 0, 1].into()]);
        let b = b.resolver(here).tls(trusting(&authority));
        b.protocol(Protocol::Http2)
    });
    assert_eq!(text(client.get(uri(&server)).await.unwrap()).await, "ok");
    assert_eq!(agreed.lock().unwrap().as_deref(), Some(&b"h2"[..]));
}
