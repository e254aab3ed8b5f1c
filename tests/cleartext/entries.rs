//! The ways into a pool other than a call, and the ways from `http` to `https`.

use std::num::NonZeroUsize;

use http::{StatusCode, Uri};
use tollgate::{Client, ErrorKind, OriginOverride};
use tollgate_core::Origin;
use tollgate_dial::{Dial, DialFailure, DialLayer};
use tollgate_keep_alive::{KeepAlive, KeepAliveErrorKind, KeepAliveLayer};
use tollgate_testing::{Reply, Upstream};
use tower::{Layer, ServiceExt};
use tower_http::follow_redirect::FollowRedirectLayer;

use crate::listener::Listener;
use crate::{calls_fail, says_why, secret};
use tollgate::cached_dns::CachedDns;

fn pool() -> KeepAlive {
    let dial = DialLayer::new().below_tls().layer(CachedDns::gai());
    KeepAliveLayer::new().layer(dial)
}

fn client() -> Client {
    let dial = DialLayer::new().below_tls().layer(CachedDns::gai());
    Client::builder().connector(dial).build().unwrap()
}

#[tokio::test]
async fn warming_https_origin_opens_no_clear_connection() {
    let listener = Listener::start().await;
    let pool = pool();
    let origin = Origin::from_uri(&listener.uri("https")).unwrap();
    pool.warm(&origin, 3).unwrap();
    says_why(&calls_fail(pool.clone(), &listener.uri("https")).await);
    assert_eq!(pool.stats(&origin).unwrap().open, 0);
    assert_eq!(listener.read().await, "");
}

#[tokio::test]
async fn https_origin_service_refuses_clear_text() {
    let listener = Listener::start().await;
    let origin = Origin::from_uri(&listener.uri("https")).unwrap();
    let service = pool().origin(&origin).unwrap();
    says_why(&calls_fail(service, &Uri::from_static("/only/a/path")).await);
    let service = client().origin(&origin.to_string()).unwrap();
    says_why(&calls_fail(service, &listener.uri("https")).await);
    assert_eq!(listener.read().await, "");
}

#[tokio::test]
async fn http_origin_service_refuses_an_https_uri() {
    let listener = Listener::start().await;
    let origin = Origin::from_uri(&listener.uri("http")).unwrap();
    let dial = Dial::new(CachedDns::gai());
    let pool = KeepAliveLayer::new().max_connections_per_origin(NonZeroUsize::MIN);
    let service = pool.layer(dial).origin(&origin).unwrap();
    for _ in 0..2 {
        let error = service
            .clone()
            .oneshot(secret(&listener.uri("https")))
            .await;
        let error = error.err().unwrap();
        assert_eq!(error.kind(), KeepAliveErrorKind::InvalidRequest);
        assert!(error.nothing_sent());
    }
    assert_eq!(listener.read().await, "");
    // The one connection, reserved for them, is there for the next.
    let answer = service
        .oneshot(secret(&listener.uri("http")))
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_override_to_https_refuses_clear_text() {
    let listener = Listener::start().await;
    let to = OriginOverride::new(&listener.uri("https").to_string()).unwrap();
    let mut request = secret(&Uri::from_static("http://billing.test/"));
    request.extensions_mut().insert(to);
    let error = client().request(request).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert_eq!(listener.read().await, "");
}

#[tokio::test]
async fn redirect_to_https_is_not_followed_in_clear() {
    let listener = Listener::start().await;
    let to = listener.uri("https").to_string();
    let upstream = Upstream::start(move |_| Reply::respond(302, "").header("location", &to)).await;
    let follows = FollowRedirectLayer::new().layer(pool());
    let error = follows.oneshot(secret(&upstream.uri("/"))).await;
    says_why(&error.err().unwrap().into());
    assert_eq!(listener.read().await, "");
}

#[tokio::test]
async fn other_scheme_is_invalid_at_every_entry() {
    let listener = Listener::start().await;
    for scheme in ["ftp", "ws", "wss", "redis", "httpx"] {
        let uri = listener.uri(scheme);
        let origin = Origin::from_uri(&uri).unwrap();
        let pool = pool();
        let invalid = [
            pool.clone().oneshot(secret(&uri)).await.err(),
            pool.origin(&origin).err(),
            pool.warm(&origin, 1).err(),
            pool.set_max_connections(&origin, NonZeroUsize::MIN).err(),
        ];
        for error in invalid {
            assert_eq!(error.unwrap().kind(), KeepAliveErrorKind::InvalidRequest);
        }
        let client = client();
        let invalid = [
            client.get(uri.clone()).await.err(),
            client.origin(&origin.to_string()).err(),
            client.warm(&origin.to_string(), 1).err(),
        ];
        for error in invalid.map(Option::unwrap) {
            assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{scheme}");
            assert!(!error.is_retryable());
        }
        if scheme != "wss" {
            for dial in [DialLayer::new(), DialLayer::new().below_tls()] {
                let error = dial.layer(CachedDns::gai()).oneshot(uri.clone()).await;
                assert_eq!(error.err().unwrap().failure(), DialFailure::InvalidUri);
            }
        }
    }
    assert_eq!(listener.read().await, "");
}

#[tokio::test]
async fn port_out_of_range_is_an_invalid_request() {
    for uri in ["http://localhost:65616/", "http://localhost:-1/"] {
        let uri = Uri::from_static(uri);
        let error = pool().oneshot(secret(&uri)).await.err().unwrap();
        assert_eq!(error.kind(), KeepAliveErrorKind::InvalidRequest, "{uri}");
        let error = Dial::new(CachedDns::gai())
            .oneshot(uri)
            .await
            .err()
            .unwrap();
        assert_eq!(error.failure(), DialFailure::InvalidUri);
    }
}
