//! Several servers, and UDP and TCP.

use std::time::Duration;

use tokio::time::Instant;
use tollgate_cached_dns::LookupErrorKind;
use tollgate_testing::Refused;
use tollgate_testing::dns::ResponseCode;

use super::*;
use crate::common::*;

/// Twenty lookups with a first server that does `answer`, or that is not there.
async fn with_a_broken_first_server(answer: Option<Answer>) -> (DnsServer, Vec<Duration>) {
    let (mut broken, healthy) = (DnsServer::start().await, DnsServer::start().await);
    match answer {
        Some(answer) => broken.script_all(move |_| answer.clone()),
        None => broken.stop().await,
    }
    healthy.script_all(|_| both(&["127.0.0.1", "::1"]));
    let dns = cached(hickory([&broken, &healthy]));
    let mut took = Vec::new();
    for n in 0..20 {
        let asked = Instant::now();
        assert_eq!(
            addrs(&dns, &format!("{n}.test")).await,
            ["127.0.0.1", "::1"]
        );
        took.push(asked.elapsed());
    }
    (broken, took)
}

// Fault 12.
#[tokio::test]
async fn a_server_that_fails_or_refuses_is_passed_over_at_once_and_then_asked_last() {
    for answer in [
        Answer::servfail(),
        Answer::refused(),
        Answer::code(ResponseCode::NotImp),
        Answer::code(ResponseCode::FormErr),
    ] {
        let (broken, took) = with_a_broken_first_server(Some(answer)).await;
        assert!(took[0] < millis(250), "{took:?}");
        assert!(
            broken.total() < 20,
            "asked {} times in 20 lookups",
            broken.total()
        );
    }
}

// Fault 12.
#[tokio::test]
async fn a_server_that_is_silent_or_gone_costs_one_hedge_and_is_asked_last() {
    for answer in [Some(Answer::silence()), None] {
        let (_, mut took) = with_a_broken_first_server(answer).await;
        assert!(took[0] < millis(1200), "{took:?}");
        // Until its first time-out it goes on being asked first, and hedged.
        took.sort();
        assert!(took[0] < millis(250), "{took:?}");
    }
}

// Fault 12: both are broken.
#[tokio::test]
async fn when_every_server_fails_the_error_says_what_the_first_one_did() {
    let (one, two) = (DnsServer::start().await, DnsServer::start().await);
    one.script_all(|_| Answer::servfail());
    two.script_all(|_| Answer::refused());
    let error = lookup(&cached(hickory([&one, &two])), "a.test")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), LookupErrorKind::Transient);
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("Server Failure"), "{source}");
}

// Fault 13.
#[tokio::test]
async fn a_truncated_answer_is_fetched_over_tcp() {
    let server = DnsServer::start().await;
    let many: Vec<IpAddr> = (1..=200).map(|n| IpAddr::from([127, 0, 1, n])).collect();
    server.script_all(move |_| Answer::addrs(many.clone()).truncated());
    let dns = cached(hickory([&server]));
    assert_eq!(lookup(&dns, "a.test").await.unwrap().len(), 200);
    assert!(server.queries().iter().any(|query| query.tcp));
}

// Fault 13.
#[tokio::test]
async fn when_tcp_hangs_after_a_truncated_answer_the_lookup_fails_in_time() {
    let server = DnsServer::start().await;
    server.script_all(|_| both(&["127.0.0.1"]).truncated().silent_over_tcp());
    let dns = cached(hickory([&server]).timeout(millis(300)));
    let asked = Instant::now();
    lookup(&dns, "a.test").await.unwrap_err();
    assert!(asked.elapsed() < secs(2), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_server_whose_port_is_closed_fails_in_time() {
    let nobody = Refused::start(ip("127.0.0.1"));
    let backend = Hickory::builder()
        .nameservers([nobody.addr()])
        .hosts_file(None);
    let dns = cached(backend.timeout(millis(300)));
    let asked = Instant::now();
    lookup(&dns, "a.test").await.unwrap_err();
    assert!(asked.elapsed() < secs(2), "{:?}", asked.elapsed());
}
