//! The cost of one cached lookup, for callgrind or a stopwatch.
//!
//! `hit_cost` is the gate: under valgrind's callgrind, one hit must take less than a tenth of the
//! instructions of a hit in hickory's own cache, and allocate nothing. It fails if that is not so.
//!
//! `hit_cost ours|hickory <lookups>` resolves one name with 4 IPv4 and 4 IPv6 addresses once, then
//! `<lookups>` times from the cache, walking through the addresses each time. Under callgrind, the
//! difference between two runs with different numbers is the cost of the lookups alone.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use futures_util::FutureExt;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hyper_util::client::legacy::connect::dns::Name;
use tokio::time::Instant;
use tollgate_cached_dns::{CachedDnsLayer, Hickory};
use tollgate_core::BoxError;
use tollgate_testing::DnsServer;
use tollgate_testing::dns::Answer;
use tower_service::Service;

const NAME: &str = "eight.example.test.";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let mut args = std::env::args().skip(1);
    let (who, lookups) = (args.next(), args.next());
    if who.is_none() {
        return gate().await;
    }
    let lookups: u32 = lookups.map_or(Ok(100_000), |n| n.parse())?;
    let server = DnsServer::start().await;
    let v4 = (1..=4).map(|n| IpAddr::from([127, 0, 0, n]));
    let v6 = (1..=4).map(|n| IpAddr::from([0, 0, 0, 0, 0, 0, 0, n]));
    server.set(NAME, Answer::addrs(v4.chain(v6)).ttl(300));
    let (took, seen) = match who.as_deref() {
        Some("ours") => ours(&server, lookups).await?,
        Some("hickory") => hickory(&server, lookups).await?,
        _ => return Err("usage: hit_cost ours|hickory [lookups]".into()),
    };
    assert_eq!(seen, 8 * u64::from(lookups), "8 addresses each time");
    assert_eq!(
        server.total(),
        2,
        "one query a family, and only hits after it"
    );
    println!(
        "{lookups} hits in {took:?}, {:?} each",
        took / lookups.max(1)
    );
    Ok(())
}

/// Hits between the two runs whose difference is measured.
const HITS: u64 = 1_000;
/// How many times cheaper a hit is to be than hickory's.
const CHEAPER: u64 = 10;

async fn gate() -> Result<(), BoxError> {
    let (ours, theirs) = (instructions("ours")?, instructions("hickory")?);
    let allocations = allocations().await?;
    println!(
        "a hit: {ours} instructions, hickory's own {theirs}; {allocations} allocations in {HITS}"
    );
    if ours * CHEAPER >= theirs {
        return Err(format!("a hit costs more than 1/{CHEAPER} of hickory's").into());
    }
    if allocations > 0 {
        return Err("a hit allocates".into());
    }
    Ok(())
}

/// Of one hit of `who`, as callgrind counts them.
fn instructions(who: &str) -> Result<u64, BoxError> {
    const FEW: u64 = 100;
    let [few, many] = [FEW, FEW + HITS].map(|lookups| collected(who, lookups));
    Ok(many?.saturating_sub(few?) / HITS)
}

fn collected(who: &str, lookups: u64) -> Result<u64, BoxError> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args([who, &lookups.to_string()])
        .output()
        .map_err(|error| format!("valgrind (apt-get install valgrind): {error}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    let collected = told
        .lines()
        .find_map(|line| line.split("Collected : ").nth(1));
    let collected = collected.filter(|_| output.status.success());
    Ok(collected.ok_or_else(|| told.clone())?.trim().parse()?)
}

/// Of that many hits; the clone of the name is the caller's.
async fn allocations() -> Result<u64, BoxError> {
    let server = DnsServer::start().await;
    server.set(NAME, Answer::addrs([IpAddr::from([127, 0, 0, 1])]).ttl(300));
    let backend = Hickory::with_nameservers([server.addr()])?;
    let mut dns = CachedDnsLayer::new().cached(backend);
    let name: Name = NAME.parse()?;
    dns.call(name.clone()).await?;
    let names: Vec<Name> = (0..HITS).map(|_| name.clone()).collect();
    let mut found = 0;
    let info = allocation_counter::measure(|| {
        for name in names {
            // Ready at once: there is nothing to await.
            if let Some(Ok(addrs)) = dns.call(name).now_or_never() {
                found += addrs.len() as u64;
            }
        }
    });
    assert_eq!(found, HITS, "every one a hit");
    Ok(info.count_total)
}

async fn ours(server: &DnsServer, lookups: u32) -> Result<(Duration, u64), BoxError> {
    let backend = Hickory::builder()
        .nameservers([server.addr()])
        .hosts_file(None)
        .build()?;
    let mut dns = CachedDnsLayer::new().cached(backend);
    let name: Name = NAME.parse()?;
    dns.call(name.clone()).await?;
    let start = Instant::now();
    let mut seen = 0;
    for _ in 0..lookups {
        // The clone is the one allocation a caller of hyper-util's interface pays.
        let addrs = dns.call(name.clone()).await?;
        seen += addrs.map(|addr| u64::from(addr.port() == 0)).sum::<u64>();
    }
    Ok((start.elapsed(), seen))
}

async fn hickory(server: &DnsServer, lookups: u32) -> Result<(Duration, u64), BoxError> {
    let mut config = NameServerConfig::udp_and_tcp(server.addr().ip());
    for connection in &mut config.connections {
        connection.port = server.addr().port();
    }
    let config = ResolverConfig::from_name_servers(vec![config]);
    let provider = TokioRuntimeProvider::default();
    let resolver = TokioResolver::builder_with_config(config, provider).build()?;
    resolver.lookup_ip(NAME).await?;
    let start = Instant::now();
    let mut seen = 0;
    for _ in 0..lookups {
        let found = resolver.lookup_ip(NAME).await?;
        seen += found
            .iter()
            .map(|ip| u64::from(!ip.is_unspecified()))
            .sum::<u64>();
    }
    Ok((start.elapsed(), seen))
}
