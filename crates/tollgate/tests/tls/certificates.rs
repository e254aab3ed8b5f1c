//! Certificates, the server's and the client's.

use tollgate::tls::{TlsFailure, TlsOptions};
use tollgate::{ErrorKind, find};
use tollgate_testing::tls::{Authority, Server, self_signed};

use super::{HOST, client, fails_with, trusting, uri};
use crate::support::log::Log;
use crate::support::text;

#[tokio::test]
async fn certificate_for_another_host_needs_server_name() {
    let authority = Authority::new();
    let server = Server::new(authority.issue("other.internal")).start();
    let strict = client(trusting(&authority));
    fails_with(
        &strict,
        &uri(&server),
        TlsFailure::WrongHost,
        "another host",
    )
    .await;
    let named = client(trusting(&authority).server_name("other.internal"));
    assert_eq!(text(named.get(uri(&server)).await.unwrap()).await, "ok");
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let authority = Authority::new();
    let server = Server::new(authority.issue_expired(HOST)).start();
    let client = client(trusting(&authority));
    fails_with(&client, &uri(&server), TlsFailure::Expired, "expired").await;
}

#[tokio::test]
async fn a_self_signed_certificate_is_refused() {
    let server = Server::new(self_signed(HOST)).start();
    let client = client(trusting(&Authority::new()));
    fails_with(
        &client,
        &uri(&server),
        TlsFailure::UnknownIssuer,
        "root_pem",
    )
    .await;
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let server = Server::new(Authority::new().issue(HOST)).start();
    let client = client(trusting(&Authority::new()));
    fails_with(
        &client,
        &uri(&server),
        TlsFailure::UnknownIssuer,
        "not trusted",
    )
    .await;
}

#[tokio::test]
async fn a_reissued_authority_differs_from_an_unknown_issuer() {
    let [old, new] = [(), ()].map(|()| Authority::named("our authority"));
    let server = Server::new(new.issue(HOST)).start();
    let client = client(trusting(&old));
    fails_with(
        &client,
        &uri(&server),
        TlsFailure::BadSignature,
        "made anew",
    )
    .await;
}

#[tokio::test]
async fn client_certificate_is_sent_when_asked_for() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = Server::new(theirs.issue(HOST)).clients_of(&ours).start();
    let identity = ours.issue("client.internal");
    let client = client(trusting(&theirs).identity_pem(identity.cert, identity.key));
    assert_eq!(text(client.get(uri(&server)).await.unwrap()).await, "ok");
}

#[tokio::test]
async fn missing_client_certificate_is_a_tls_error() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = Server::new(theirs.issue(HOST)).clients_of(&ours).start();
    let client = client(trusting(&theirs));
    let error = client.get(uri(&server)).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    crate::support::words::says_all(&error);
    assert!(!error.is_retryable());
    // By TLS 1.2, the handshake itself fails.
    assert!(find::<rustls::Error>(&error).is_some());
}

/// Up to four dials each it was, and half of the errors were of connections that had closed.
#[tokio::test]
async fn a_missing_client_certificate_costs_one_dial() {
    const CALLS: usize = 20;
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = Server::new(theirs.issue(HOST)).clients_of(&ours);
    let server = server.start();
    let client = client(trusting(&theirs));
    for call in 1..=CALLS {
        // With a body, which is not sent twice whatever was lost.
        let request = tollgate::Request::post(uri(&server));
        let request = request.body(tollgate::Body::from("x")).unwrap();
        let error = client.request(request).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
        assert!(!error.is_retryable(), "{error:?}");
        assert_eq!(server.accepted(), call, "{error:?}");
    }
}

#[cfg(feature = "platform-verifier")]
#[tokio::test]
async fn platform_verifier_trusts_added_roots_not_strangers() {
    let (ours, unknown) = (Authority::new(), Authority::new());
    let options = || trusting(&ours).platform_verifier(true);
    let server = Server::new(ours.issue(HOST)).start();
    let known = client(options());
    assert_eq!(text(known.get(uri(&server)).await.unwrap()).await, "ok");
    let stranger = Server::new(unknown.issue(HOST)).start();
    let strict = client(options());
    fails_with(
        &strict,
        &uri(&stranger),
        TlsFailure::UnknownIssuer,
        "not trusted",
    )
    .await;
}

#[tokio::test]
async fn accepting_invalid_certificates_warns_once_per_client() {
    let server = Server::new(self_signed("other.internal")).start();
    let log = Log::default();
    let client = tracing::subscriber::with_default(log.clone(), || {
        client(TlsOptions::new().danger_accept_invalid_certs(true))
    });
    for _ in 0..3 {
        assert_eq!(text(client.get(uri(&server)).await.unwrap()).await, "ok");
    }
    assert_eq!(log.with("danger_accept_invalid_certs").len(), 1);
}
