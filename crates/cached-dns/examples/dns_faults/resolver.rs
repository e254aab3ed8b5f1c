//! The three resolvers, to be asked alike.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::Name;
use hickory_resolver::{Hosts, TokioResolver};
use hyper_util::client::legacy::connect::dns::GaiResolver;
use tokio::time::{Instant, timeout};
use tollgate_cached_dns::{CachedDns, CachedDnsLayer, Freshness, Hickory};
use tollgate_core::BoxError;
use tollgate_testing::DnsServer;
use tower_service::Service;

use crate::namespace::{self, Scratch};

#[derive(Clone, Copy)]
pub(crate) enum Column {
    Ours,
    Hickory,
    Getaddrinfo,
}

pub(crate) struct Resolver {
    which: Which,
    limit: Duration,
}

enum Which {
    Ours(CachedDns<Hickory>),
    Hickory(Box<TokioResolver>),
    Getaddrinfo(GaiResolver),
}

/// How a lookup ended, and after how long.
pub(crate) struct Outcome {
    end: End,
    took: Duration,
}

enum End {
    Found,
    /// An answer past its TTL.
    Stale,
    Failed,
    GivenUp,
}

impl Resolver {
    /// `search` comes with `ndots:5`.
    pub(crate) async fn new(
        column: Column,
        servers: &[&DnsServer],
        search: &[&str],
        limit: Duration,
    ) -> Result<Self, BoxError> {
        let addrs: Vec<SocketAddr> = servers.iter().map(|server| server.addr()).collect();
        let ndots = if search.is_empty() { 1 } else { 5 };
        let which = match column {
            Column::Ours => {
                let backend = Hickory::builder().nameservers(addrs).hosts_file(None);
                let backend = backend
                    .search(search.iter().copied())
                    .ndots(ndots)
                    .build()?;
                Which::Ours(CachedDnsLayer::new().cached(backend))
            }
            Column::Hickory => Which::Hickory(Box::new(hickory(&addrs, search, ndots)?)),
            Column::Getaddrinfo => {
                namespace::relay(&addrs).await?;
                Which::Getaddrinfo(GaiResolver::new())
            }
        };
        Ok(Self { which, limit })
    }

    /// With these names in the hosts file, which is the system's in a cell of getaddrinfo.
    pub(crate) async fn pinned(
        column: Column,
        server: &DnsServer,
        hosts: &str,
        limit: Duration,
    ) -> Result<Self, BoxError> {
        let mut this = Self::new(column, &[server], &[], limit).await?;
        match &mut this.which {
            Which::Ours(ours) => {
                let name = format!("tollgate-dns-faults-{}-hosts", std::process::id());
                let file = Scratch(std::env::temp_dir().join(name));
                std::fs::write(&file.0, hosts)?;
                let backend = Hickory::builder().nameservers([server.addr()]);
                let backend = backend.hosts_file(Some(file.0.clone())).build()?;
                *ours = CachedDnsLayer::new().cached(backend);
            }
            Which::Hickory(hickory) => {
                let mut table = Hosts::default();
                table.read_hosts_conf(hosts.as_bytes())?;
                hickory.set_hosts(Arc::new(table));
            }
            Which::Getaddrinfo(_) => {}
        }
        Ok(this)
    }

    pub(crate) async fn lookup(&self, name: &str) -> Outcome {
        self.lookup_within(name, self.limit).await
    }

    pub(crate) async fn lookup_within(&self, name: &str, limit: Duration) -> Outcome {
        let start = Instant::now();
        let end = match timeout(limit, self.ask(name)).await {
            Ok(end) => end,
            Err(_) => End::GivenUp,
        };
        Outcome {
            end,
            took: start.elapsed(),
        }
    }

    async fn ask(&self, name: &str) -> End {
        match &self.which {
            Which::Hickory(resolver) => End::of(resolver.lookup_ip(name).await.is_ok()),
            Which::Ours(dns) => {
                let Ok(name) = name.parse() else {
                    return End::Failed;
                };
                match dns.clone().call(name).await {
                    Ok(found) if found.freshness() != Freshness::Fresh => End::Stale,
                    found => End::of(found.is_ok()),
                }
            }
            Which::Getaddrinfo(system) => {
                let Ok(name) = name.parse() else {
                    return End::Failed;
                };
                End::of(system.clone().call(name).await.is_ok())
            }
        }
    }
}

impl End {
    fn of(is_found: bool) -> Self {
        if is_found { Self::Found } else { Self::Failed }
    }
}

/// As it comes, but for where to ask.
fn hickory(
    servers: &[SocketAddr],
    search: &[&str],
    ndots: usize,
) -> Result<TokioResolver, BoxError> {
    let servers = servers.iter().map(|addr| {
        let mut config = NameServerConfig::udp_and_tcp(addr.ip());
        for connection in &mut config.connections {
            connection.port = addr.port();
        }
        config
    });
    let search = search
        .iter()
        .map(Name::from_ascii)
        .collect::<Result<_, _>>()?;
    let config = ResolverConfig::from_parts(None, search, servers.collect());
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.options_mut().ndots = ndots;
    Ok(builder.build()?)
}

impl Outcome {
    pub(crate) fn is_found(&self) -> bool {
        matches!(self.end, End::Found | End::Stale)
    }

    pub(crate) fn took(&self) -> Duration {
        self.took
    }

    /// To three places at most.
    pub(crate) fn time(time: Duration) -> String {
        let (seconds, micros) = (time.as_secs_f64(), time.as_micros());
        match micros {
            0..10 => format!("{:.1} us", seconds * 1e6),
            10..1_000 => format!("{micros} us"),
            1_000..1_000_000 => format!("{:.1} ms", seconds * 1e3),
            _ => format!("{seconds:.2} s"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.end {
            End::Found => "found in",
            End::Stale => "stale answer in",
            End::Failed => "error after",
            End::GivenUp => "nothing in",
        };
        write!(f, "{what} {}", Self::time(self.took))
    }
}
