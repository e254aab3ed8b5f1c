//! The search list.

use tollgate_cached_dns::LookupErrorKind;
use tollgate_testing::dns::RecordType;

use super::*;
use crate::common::*;

/// Which names were asked for, each with how many packets.
fn asked(server: &DnsServer) -> Vec<(String, usize)> {
    let mut names: Vec<(String, usize)> = Vec::new();
    for query in server.queries() {
        match names.iter_mut().find(|(name, _)| *name == query.name) {
            Some((_, count)) => *count += 1,
            None => names.push((query.name, 1)),
        }
    }
    names
}

const DOMAINS: [&str; 4] = ["ns.svc.test", "svc.test", "cluster.test", "host.test"];

// Fault 14.
#[tokio::test]
async fn nxdomain_walks_the_search_list_under_one_key() {
    let server = DnsServer::start().await;
    server.set("api.example.com", both(&["127.0.0.1", "::1"]));
    let dns = cached(hickory([&server]).search(DOMAINS).ndots(5));
    assert_eq!(addrs(&dns, "api.example.com").await.len(), 2);
    let names = asked(&server);
    let of = |domain| (format!("api.example.com.{domain}"), 2);
    let mut expected: Vec<_> = DOMAINS.into_iter().map(of).collect();
    expected.push(("api.example.com".to_owned(), 2));
    assert_eq!(names, expected);
    addrs(&dns, "api.example.com").await;
    assert_eq!(server.total(), 10);
    // With the dot it is another question, and needs no walk.
    addrs(&dns, "api.example.com.").await;
    assert_eq!(server.total(), 12);
}

// Fault 14.
#[tokio::test]
async fn absolute_names_skip_the_search_list() {
    let server = DnsServer::start().await;
    server.set("api.example.com", both(&["127.0.0.1", "::1"]));
    server.set("api.ns.svc.test", both(&["127.0.0.2", "::2"]));
    let dns = cached(
        hickory([&server])
            .search(DOMAINS)
            .ndots(5)
            .absolute_names(true),
    );
    addrs(&dns, "api.example.com").await;
    assert_eq!(server.total(), 2);
    assert_eq!(addrs(&dns, "api").await, ["127.0.0.2", "::2"]);
}

// Fault 14.
#[tokio::test]
async fn a_silent_server_ends_the_search_list() {
    let server = DnsServer::start().await;
    server.set("api.svc.test", Answer::silence());
    server.set("api", both(&["127.0.0.1", "::1"]));
    let dns = cached(
        hickory([&server])
            .search(DOMAINS)
            .ndots(5)
            .timeout(millis(100)),
    );
    let error = lookup(&dns, "api").await.unwrap_err();
    assert_eq!(error.kind(), LookupErrorKind::Timeout);
    let names: Vec<_> = asked(&server).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["api.ns.svc.test", "api.svc.test"]);
}

// RFC 8020: the walk goes on although AAAA of the candidates is never answered, or fails.
#[tokio::test]
async fn nxdomain_for_a_continues_the_search_list() {
    for aaaa in [Answer::silence(), Answer::servfail()] {
        let server = DnsServer::start().await;
        server.script_all(move |query| match query.rtype {
            RecordType::AAAA => aaaa.clone(),
            _ => Answer::nxdomain(),
        });
        server.set(
            "api.example.com",
            both(&["127.0.0.1"]).silent_to(RecordType::AAAA),
        );
        let dns = cached(hickory([&server]).search(DOMAINS).ndots(5));
        assert_eq!(addrs(&dns, "api.example.com").await, ["127.0.0.1"]);
        assert!(
            lookup(&dns, "none.example.com")
                .await
                .unwrap_err()
                .is_not_found()
        );
    }
}

#[tokio::test]
async fn servfail_continues_the_search_list_like_glibc() {
    let server = DnsServer::start().await;
    server.set("api.svc.test", Answer::servfail());
    server.set("api.cluster.test", both(&["127.0.0.1", "::1"]));
    server.set("none.svc.test", Answer::refused());
    let dns = cached(hickory([&server]).search(DOMAINS).ndots(5));
    assert_eq!(addrs(&dns, "api").await, ["127.0.0.1", "::1"]);
    // Without an address anywhere, the server that could not say has the last word.
    let error = lookup(&dns, "none").await.unwrap_err();
    assert_eq!(error.kind(), LookupErrorKind::Transient);
}
