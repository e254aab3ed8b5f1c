//! The address policy, from the URI to the socket that is not opened.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use std::net::SocketAddr;

use common::{Answers, Does, Mock, v4, v6};
use http::Uri;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::dns::GaiResolver;
use hyper_util::rt::TokioExecutor;
use tollgate_core::ConnectErrorKind;
use tollgate_core::error::find;
use tollgate_dial::{AddrPolicy, DialError, DialFailure, DialLayer};
use tollgate_testing::{Reply, Upstream};
use tower::{Layer, ServiceExt};

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

async fn blocked(mock: &Mock, uri: &str, answer: &[SocketAddr]) -> DialError {
    let layer = DialLayer::with_attempt(mock.clone()).policy(AddrPolicy::public_only());
    let dial = layer.layer(Answers(answer.to_vec()));
    let error = dial.oneshot(uri.parse().unwrap()).await.unwrap_err();
    assert_eq!(error.failure(), DialFailure::Blocked);
    assert_eq!(error.kind(), ConnectErrorKind::Blocked);
    assert_eq!(ConnectErrorKind::of(&error), ConnectErrorKind::Blocked);
    assert!(mock.take_started().is_empty(), "nothing was connected to");
    error
}

#[tokio::test]
async fn literals_are_blocked_before_anything_is_opened() {
    let mock = Mock::default();
    for uri in [
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:8080",
        "http://[::1]",
        "http://[::ffff:10.0.0.1]",
        "http://[64:ff9b::a00:1]",
    ] {
        blocked(&mock, uri, &[]).await;
    }
}

#[tokio::test]
async fn the_address_policy_blocks_answers_and_literals() {
    let mock = Mock::default();
    let inside = [addr("10.0.0.1:0"), addr("[::ffff:10.0.0.2]:0")];
    let error = blocked(&mock, "http://rebound.test", &inside).await;
    assert_eq!(
        error.to_string(),
        "rebound.test:80 was not dialled: the address policy forbids 10.0.0.1, ::ffff:10.0.0.2; AddrPolicy::allow permits a network"
    );
    assert_eq!(error.blocked().len(), 2);
    let io = find::<std::io::Error>(&error).unwrap();
    assert_eq!(io.kind(), std::io::ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn a_mixed_answer_is_dialled_where_permitted() {
    let (good, bad) = (addr("93.184.215.14:80"), addr("10.0.0.1:80"));
    let mock = Mock::new([(good, Does::CONNECTS), (bad, Does::CONNECTS)]);
    let layer = DialLayer::with_attempt(mock.clone()).policy(AddrPolicy::public_only());
    let dial = layer.layer(Answers(vec![bad, good]));
    let uri = Uri::from_static("http://mixed.test");
    dial.clone().oneshot(uri.clone()).await.unwrap();
    assert_eq!(mock.take_started(), [good]);

    mock.set(good, Does::REFUSES);
    let error = dial.oneshot(uri).await.unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::Refused);
    assert_eq!(error.blocked(), [bad]);
    assert!(
        error
            .to_string()
            .contains("; the address policy forbids 10.0.0.1"),
        "{error}"
    );
}

#[tokio::test]
async fn getaddrinfo_spellings_do_not_evade_the_policy() {
    let layer = DialLayer::new().policy(AddrPolicy::public_only());
    for host in ["2130706433", "127.1", "0x7f.0.0.1", "0177.0.0.1"] {
        let dial = layer.layer(GaiResolver::new());
        let uri = format!("http://{host}:9").parse().unwrap();
        let error = dial.oneshot(uri).await.unwrap_err();
        // A system that does not know the spelling cannot be led astray by it either.
        if error.failure() != DialFailure::Resolve {
            assert_eq!(error.failure(), DialFailure::Blocked, "{host}: {error}");
        }
    }
}

#[tokio::test]
async fn an_answers_port_yields_to_the_uris() {
    let mock = Mock::new([
        (addr("192.0.2.1:8443"), Does::CONNECTS),
        (v4(1), Does::CONNECTS),
    ]);
    let dial = DialLayer::with_attempt(mock.clone()).layer(Answers(vec![addr("192.0.2.1:8443")]));
    for (uri, port) in [("http://a.test", 8443), ("http://a.test:80", 80)] {
        dial.clone().oneshot(uri.parse().unwrap()).await.unwrap();
        assert_eq!(mock.take_started()[0].port(), port);
    }
}

#[tokio::test]
async fn a_redirect_to_a_private_address_is_blocked() {
    let inside = "http://169.254.169.254/latest/meta-data";
    let reply = || Reply::head(302).header("location", inside);
    let upstream = Upstream::start(move |_| reply().header("content-length", "0")).await;
    let policy = AddrPolicy::public_only().allow(upstream.addr().ip());
    let dial = DialLayer::new()
        .policy(policy)
        .layer(Answers(vec![upstream.addr()]));
    let client: Client<_, String> = Client::builder(TokioExecutor::new()).build(dial);
    let first = client
        .get(Uri::from_static("http://shop.test/"))
        .await
        .unwrap();
    let location = first.headers()["location"].to_str().unwrap();
    let error = client.get(location.parse().unwrap()).await.unwrap_err();
    assert_eq!(ConnectErrorKind::of(&error), ConnectErrorKind::Blocked);
}

#[tokio::test]
async fn an_ipv6_host_is_bracketed_in_messages() {
    let nothing = DialLayer::new().policy(AddrPolicy::none());
    let dial = nothing.layer(Answers(Vec::new()));
    let error = dial.oneshot(Uri::from_static("http://[2001:db8::1]:8080"));
    let message = error.await.unwrap_err().to_string();
    assert!(
        message.starts_with("[2001:db8::1]:8080 was not dialled"),
        "{message}"
    );
    let refuses = common::layer(&Mock::new([(v6(1), Does::REFUSES)]));
    let error = common::dial(&refuses, &[v6(1)]).await.unwrap_err();
    let bracketed = format!("[{}]:80", v6(1).ip());
    assert!(error.to_string().contains(&bracketed), "{error}");
}
