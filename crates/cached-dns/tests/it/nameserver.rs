//! The hickory backend and the cache against a scripted name server.

mod families;
mod files;
mod fuzz;
mod lies;
mod negative;
mod outage;
mod search;
mod servers;

use std::net::{IpAddr, SocketAddr};

use tollgate_cached_dns::{CachedDns, CachedDnsLayer, Hickory, HickoryBuilder};
use tollgate_testing::DnsServer;
use tollgate_testing::dns::Answer;

pub(crate) fn ip(ip: &str) -> IpAddr {
    ip.parse().unwrap()
}

pub(crate) fn hickory<'a>(servers: impl IntoIterator<Item = &'a DnsServer>) -> HickoryBuilder {
    let servers: Vec<SocketAddr> = servers.into_iter().map(DnsServer::addr).collect();
    Hickory::builder()
        .nameservers(servers)
        .hosts_file(None)
        .ipv6_first(true)
}

pub(crate) fn cached(backend: HickoryBuilder) -> CachedDns<Hickory> {
    CachedDnsLayer::new()
        .jitter(false)
        .cached(backend.build().unwrap())
}

pub(crate) fn both(addrs: &[&str]) -> Answer {
    Answer::addrs(addrs.iter().map(|a| ip(a)).collect::<Vec<_>>())
}
