//! Without TLS, `https` is an error and not a connection in the clear.
#![cfg(not(feature = "tls"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use tollgate::{Client, ErrorKind};
use tollgate_testing::{Reply, Upstream};

#[tokio::test]
async fn https_without_the_feature_is_a_tls_error_and_nothing_is_dialled() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let client = Client::new();
    let uri = format!("https://{}/", upstream.addr());
    let error = client.get(uri).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Tls);
    let cause = tollgate::find::<tollgate::Classified>(&error).unwrap();
    assert!(format!("{cause:?}").contains("feature"));
    assert_eq!(upstream.accepted(), 0);
    assert!(client.get(upstream.uri("/")).await.is_ok());
}
