//! The search list.

use tollgate_cached_dns::LookupErrorKind;

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
async fn the_search_list_is_walked_on_no_such_name_and_the_answer_cached_under_the_name_asked() {
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
async fn absolute_names_cost_two_packets_whatever_the_search_list() {
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
async fn the_search_list_is_not_walked_past_a_server_that_fails() {
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
    assert_eq!(error.kind(), LookupErrorKind::TimedOut);
    let names: Vec<_> = asked(&server).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["api.ns.svc.test", "api.svc.test"]);
}
