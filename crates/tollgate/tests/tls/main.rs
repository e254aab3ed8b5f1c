//! TLS through the client, with certificates made for each test: every failure is an error of its
//! own, and none of them spoils the pool.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod alpn;
mod certificates;
mod handshakes;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use support::{client_with, text};
use tollgate::cached_dns::StaticHosts;
use tollgate::tls::{TlsError, TlsFailure, TlsOptions};
use tollgate::{Client, ErrorKind, find};
use tollgate_testing::tls::{Authority, Server};
use tollgate_testing::{Listener, Reply, Upstream};

const HOST: &str = "billing.internal";

/// A client that trusts `options` and finds every test host on loopback.
fn client(options: TlsOptions) -> Client {
    client_with(|b| {
        let here = [[127, 0, 0, 1].into()];
        b.resolver(
            StaticHosts::new()
                .host(HOST, here)
                .host("other.internal", here),
        )
        .tls(options)
        .connect_timeout(Duration::from_secs(2))
    })
}

fn trusting(authority: &Authority) -> TlsOptions {
    TlsOptions::new().root_pem(authority.pem())
}

fn uri(server: &Listener) -> String {
    format!("https://{HOST}:{}/", server.addr().port())
}

/// The call fails in this way, with a message that says what to change, and another origin of the
/// same client works at once.
async fn fails_with(client: &Client, uri: &str, failure: TlsFailure, advice: &str) {
    let error = client.get(uri).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    assert!(error.is_connect() && error.nothing_sent(), "{error:?}");
    let said = error.to_string();
    assert!(
        said.contains("TLS handshake failed") && said.contains(advice),
        "{said}"
    );
    let tls = find::<TlsError>(&error).unwrap();
    assert_eq!(tls.failure(), failure, "{error:?}");
    assert!(tls.to_string().contains(advice), "{tls}");
    assert_eq!(tls.host(), HOST);

    let stats = client.stats(uri).unwrap();
    assert_eq!((stats.open, stats.connecting, stats.queued), (0, 0, 0));
    let plain = Upstream::start(|_| Reply::ok("ok")).await;
    assert_eq!(text(client.get(plain.uri("/")).await.unwrap()).await, "ok");
}

#[tokio::test]
async fn https_with_own_authority_is_kept_alive() {
    let authority = Authority::new();
    let server = Server::new(authority.issue(HOST)).start();
    let client = client(trusting(&authority));
    let response = client.get(uri(&server)).await.unwrap();
    let timings = response.body().timings();
    assert!(timings.tls.is_some() && timings.connect.is_some() && timings.dns.is_some());
    assert_eq!(timings.remote, Some(server.addr()));
    assert_eq!(text(response).await, "ok");
    let response = client.get(uri(&server)).await.unwrap();
    assert!(response.body().timings().reused);
    assert_eq!(text(response).await, "ok");
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn second_handshake_resumes_the_first_session() {
    let authority = Authority::new();
    let acceptor = Server::new(authority.issue(HOST)).acceptor();
    let serving = acceptor.clone();
    let server = Listener::start(move |stream| serving.clone().serve(stream));
    let client = client(trusting(&authority));
    for resumed in 0..3 {
        assert_eq!(text(client.get(uri(&server)).await.unwrap()).await, "ok");
        assert_eq!(acceptor.resumed(), resumed);
        client.close_idle();
    }
    assert_eq!(server.accepted(), 3);
}

#[tokio::test]
async fn http_and_https_go_through_the_same_client() {
    let authority = Authority::new();
    let server = Server::new(authority.issue(HOST)).start();
    let plain = Upstream::start(|_| Reply::ok("plain")).await;
    let client = client(trusting(&authority));
    assert_eq!(text(client.get(uri(&server)).await.unwrap()).await, "ok");
    assert_eq!(
        text(client.get(plain.uri("/")).await.unwrap()).await,
        "plain"
    );
    assert_eq!(client.snapshot().origins.len(), 2);
}
