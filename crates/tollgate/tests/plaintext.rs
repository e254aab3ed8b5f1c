//! Without TLS, or without anybody to trust, `https` is an error and not a connection in the clear.
#![cfg(not(feature = "webpki-roots"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use tollgate::{Client, ErrorKind};
use tollgate_testing::{Reply, Upstream};

#[tokio::test]
async fn a_client_without_roots_refuses_https_alone() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    for client in [Client::new(), tollgate::client().clone()] {
        let uri = format!("https://{}/", upstream.addr());
        let error = client.get(uri).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Tls);
        assert!(error.is_connect() && error.nothing_sent());
        let text = error.to_string();
        assert!(
            text.contains("turn") && text.contains("feature `"),
            "{text}"
        );
    }
    assert_eq!(upstream.accepted(), 0);
    assert!(Client::new().get(upstream.uri("/")).await.is_ok());
}

#[cfg(feature = "tls")]
#[test]
fn tls_options_without_roots_are_refused() {
    let options = tollgate::tls::TlsOptions::new();
    assert!(options.layer().is_err());
    let error = Client::builder().tls(options).build().unwrap_err();
    assert_eq!(error.field(), "tls");
    assert!(tollgate::find::<tollgate::tls::TlsConfigError>(&error).is_some());
}
