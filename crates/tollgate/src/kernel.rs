//! The kernel's rows of a snapshot.

use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr};

use tollgate_cached_dns::DnsHandle;
use tollgate_core::Origin;
use tollgate_keep_alive::{KeepAlive, OriginStats};
use tollgate_sockets::{Destination, Ports, Sockets, TcpState};

/// The sockets to one address of an origin, those of all processes of the network namespace, and the
/// local ports that are left to it.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct OriginSockets {
    /// The origin.
    pub origin: Origin,
    /// The kernel's counts of the address.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub destination: Destination,
}

/// Rows for the addresses of `origins` that there are sockets to, once for one that several pools have;
/// none where the kernel cannot be read, which is at `debug` in the log.
pub(crate) fn rows<'a>(
    origins: impl Iterator<Item = &'a OriginStats>,
    pools: &[Option<&KeepAlive>],
    dns: Option<&DnsHandle>,
) -> Vec<OriginSockets> {
    let read = Sockets::read().and_then(|sockets| Ok((sockets, Ports::read()?)));
    let (sockets, ports) = match read {
        Ok(read) => read,
        Err(error) => {
            tracing::debug!(target: "tollgate::client", %error, "no sockets in the snapshot");
            return Vec::new();
        }
    };
    let destinations = sockets.destinations(&ports);
    let mut rows = Vec::new();
    let mut seen = HashSet::new();
    for origin in origins.map(|stats| &stats.origin) {
        if !seen.insert(origin) {
            continue;
        }
        let addrs = addrs(origin, pools, dns);
        let known = destinations
            .iter()
            .filter(|one| addrs.contains(&one.remote));
        rows.extend(known.map(|destination| OriginSockets {
            origin: origin.clone(),
            destination: destination.clone(),
        }));
    }
    rows
}

/// Those that the name has now, and those that connections lead to: either may lack some.
fn addrs(
    origin: &Origin,
    pools: &[Option<&KeepAlive>],
    dns: Option<&DnsHandle>,
) -> BTreeSet<SocketAddr> {
    let (host, port) = (origin.host(), origin.port());
    let literal = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    let resolved = dns.map(|dns| dns.addrs(host)).unwrap_or_default();
    let ips = resolved.iter().map(SocketAddr::ip).chain(literal);
    let details = pools
        .iter()
        .flatten()
        .filter_map(|pool| pool.detail(origin));
    let open = details.flat_map(|detail| detail.connections);
    let all = ips
        .map(|ip| SocketAddr::new(ip, port))
        .chain(open.filter_map(|connection| connection.remote));
    // As the kernel's tables are read: an IPv4 peer of a dual-stack socket is an IPv4 address
    // there.
    all.map(|addr| SocketAddr::new(addr.ip().to_canonical(), addr.port()))
        .collect()
}

pub(crate) const COLUMNS: [&str; 8] = [
    "origin",
    "address",
    "established",
    "time_wait",
    "close_wait",
    "other",
    "ports taken",
    "of",
];

impl OriginSockets {
    pub(crate) fn cells(&self) -> [String; 8] {
        let Destination {
            remote,
            sockets,
            ports_taken,
            ports,
            ..
        } = &self.destination;
        let of = |state| sockets.of(state);
        let told = [
            TcpState::Established,
            TcpState::TimeWait,
            TcpState::CloseWait,
        ]
        .map(of);
        let other = sockets.total() - told.iter().sum::<u64>();
        [
            self.origin.to_string(),
            remote.to_string(),
            told[0].to_string(),
            told[1].to_string(),
            told[2].to_string(),
            other.to_string(),
            ports_taken.to_string(),
            ports.to_string(),
        ]
    }
}
