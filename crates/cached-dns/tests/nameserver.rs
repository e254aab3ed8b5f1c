//! The hickory backend and the cache against a scripted DNS server.
#![cfg(feature = "hickory")]

mod common;

use std::net::{IpAddr, SocketAddr};

use common::*;
use tollgate_cached_dns::{CachedDns, CachedDnsLayer, Hickory, HickoryBuilder};
use tollgate_testing::DnsServer;
use tollgate_testing::dns::{Answer, RecordType};

fn ip(ip: &str) -> IpAddr {
    ip.parse().unwrap()
}

fn hickory<'a>(servers: impl IntoIterator<Item = &'a DnsServer>) -> HickoryBuilder {
    let servers: Vec<SocketAddr> = servers.into_iter().map(DnsServer::addr).collect();
    Hickory::builder()
        .nameservers(servers)
        .hosts_file(None)
        .ipv6_first(true)
}

fn cached(backend: HickoryBuilder) -> CachedDns<Hickory> {
    CachedDnsLayer::new()
        .jitter(false)
        .cached(backend.build().unwrap())
}

fn both(addrs: &[&str]) -> Answer {
    Answer::addrs(addrs.iter().map(|a| ip(a)).collect::<Vec<_>>())
}

#[tokio::test]
async fn both_families_come_in_one_answer_from_two_packets() {
    let server = DnsServer::start().await;
    server.set("a.test", both(&["127.0.0.1", "::1"]).ttl(30));
    let dns = cached(hickory([&server]));
    let found: Vec<_> = lookup(&dns, "a.test").await.unwrap().collect();
    assert_eq!(found, [addr("::1"), addr("127.0.0.1")]);
    assert_eq!(addrs(&dns, "a.test").await, ["127.0.0.1", "::1"]);
    assert_eq!(server.total(), 2);
    assert_eq!(dns.handle().snapshot()[0].ttl, secs(30));
}

// Fault 1.
#[tokio::test]
async fn five_hundred_cold_lookups_of_a_name_are_one_query_per_family() {
    let server = DnsServer::start().await;
    server.set("a.test", both(&["127.0.0.1", "::1"]).after(millis(20)));
    let dns = cached(hickory([&server]));
    let lookups = (0..500).map(|_| lookup(&dns, "a.test"));
    for found in futures_util::future::join_all(lookups).await {
        assert_eq!(found.unwrap().len(), 2);
    }
    assert_eq!(server.count("a.test", RecordType::A), 1);
    assert_eq!(server.count("a.test", RecordType::AAAA), 1);
}
