//! Names whose addresses are given: overrides, and the hosts file.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::time::Instant;

use crate::entry::Entry;
use crate::name::{Key, zones};

/// A table of names and their addresses.
///
/// As [overrides](crate::CachedDnsLayer::overrides) it answers before the cache; as a backend it is
/// all there is. A name in the table is answered from the table alone, for both address families:
/// an IPv4 address pinned here is not bypassed by an AAAA record elsewhere. A name without
/// addresses does not exist. Names match in any case and with or without a trailing dot.
///
/// ```
/// use std::net::{IpAddr, Ipv4Addr};
/// use tollgate_cached_dns::StaticHosts;
///
/// let hosts = StaticHosts::new()
///     .host("billing.internal", [IpAddr::from([10, 0, 0, 7])])
///     .host("*.test", [Ipv4Addr::LOCALHOST.into()])
///     .socket("search.internal", ["10.0.0.8:9200".parse()?])
///     .host("tracker.example", []);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Default)]
pub struct StaticHosts {
    /// Both sorted by name.
    exact: Vec<(Key, Arc<Entry>)>,
    zones: Vec<(Key, Arc<Entry>)>,
}

impl StaticHosts {
    /// An empty table.
    pub const fn new() -> Self {
        Self {
            exact: Vec::new(),
            zones: Vec::new(),
        }
    }

    /// `name` has these addresses, with the port of the URI. `*.zone` stands for every name below
    /// `zone` that has no nearer entry. An earlier entry for `name` is replaced.
    #[must_use]
    pub fn host(self, name: &str, ips: impl IntoIterator<Item = IpAddr>) -> Self {
        self.socket(name, ips.into_iter().map(|ip| SocketAddr::new(ip, 0)))
    }

    /// As [`host`](Self::host), with ports; a port of 0 is the port of the URI.
    #[must_use]
    pub fn socket(mut self, name: &str, addrs: impl IntoIterator<Item = SocketAddr>) -> Self {
        let (table, name) = match name.strip_prefix("*.") {
            Some(zone) => (&mut self.zones, zone),
            None => (&mut self.exact, name),
        };
        let name = undotted(name);
        let entry = Arc::new(Entry::fixed(addrs.into_iter().collect(), Instant::now()));
        match position(table, name) {
            Ok(found) => table[found].1 = entry,
            Err(place) => table.insert(place, (Key::new(name), entry)),
        }
        self
    }

    /// Reads the format of `/etc/hosts`; lines that make no sense are left out, as the C library
    /// does.
    pub fn from_hosts_file(text: &str) -> Self {
        let mut names = BTreeMap::<String, Vec<SocketAddr>>::new();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut fields = line.split_ascii_whitespace();
            let Some(Ok(ip)) = fields.next().map(str::parse::<IpAddr>) else {
                continue;
            };
            for name in fields {
                let name = undotted(name).to_ascii_lowercase();
                names.entry(name).or_default().push(SocketAddr::new(ip, 0));
            }
        }
        let now = Instant::now();
        let entry =
            |(name, addrs): (String, _)| (Key::new(&name), Arc::new(Entry::fixed(addrs, now)));
        Self {
            exact: names.into_iter().map(entry).collect(),
            zones: Vec::new(),
        }
    }

    /// The addresses of `name`; `None` if the table says nothing about it.
    pub fn get(&self, name: &str) -> Option<&[SocketAddr]> {
        self.find(name).map(|entry| &*entry.addrs)
    }

    /// Whether the table says nothing at all.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.zones.is_empty()
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Arc<Entry>> {
        if self.is_empty() {
            return None;
        }
        let name = undotted(name);
        let in_table = |table: &'_ [(Key, _)], name| position(table, name).ok();
        if let Some(found) = in_table(&self.exact, name) {
            return Some(&self.exact[found].1);
        }
        let zone = zones(name).find_map(|zone| in_table(&self.zones, zone))?;
        Some(&self.zones[zone].1)
    }
}

fn undotted(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

fn position(table: &[(Key, Arc<Entry>)], name: &str) -> Result<usize, usize> {
    table.binary_search_by(|(key, _)| folded_order(key.as_str(), name))
}

/// How `key`, which is in lower case, compares to `name` in any case.
fn folded_order(key: &str, name: &str) -> Ordering {
    key.bytes()
        .cmp(name.bytes().map(|byte| byte.to_ascii_lowercase()))
}

impl fmt::Debug for StaticHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |table: &[(Key, Arc<Entry>)], prefix| -> BTreeMap<_, _> {
            let entry = |(key, entry): &(Key, Arc<Entry>)| {
                (format!("{prefix}{}", key.as_str()), entry.addrs.clone())
            };
            table.iter().map(entry).collect()
        };
        let mut all = names(&self.exact, "");
        all.extend(names(&self.zones, "*."));
        f.debug_map().entries(all).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn found(hosts: &StaticHosts, name: &str) -> Option<Vec<String>> {
        let addrs = hosts.get(name)?;
        Some(addrs.iter().map(|addr| addr.ip().to_string()).collect())
    }

    #[test]
    fn the_nearest_entry_wins() {
        let hosts = StaticHosts::new()
            .host("*.b.c", [ip(3)])
            .host("*.c", [ip(2)])
            .host("a.b.c", [ip(1)]);
        for (name, addr) in [
            ("a.b.c", Some("10.0.0.1")),
            ("A.B.C.", Some("10.0.0.1")),
            ("x.b.c", Some("10.0.0.3")),
            ("y.x.b.c", Some("10.0.0.3")),
            ("b.c", Some("10.0.0.2")),
            ("c", None),
            ("c.d", None),
        ] {
            assert_eq!(
                found(&hosts, name),
                addr.map(|a| vec![a.to_owned()]),
                "{name}"
            );
        }
    }

    #[test]
    fn a_later_entry_replaces_an_earlier_one_and_an_empty_one_says_not_found() {
        let hosts = StaticHosts::new()
            .host("a", [ip(1)])
            .host("A.", [ip(2)])
            .host("b", []);
        assert_eq!(found(&hosts, "a").unwrap(), ["10.0.0.2"]);
        assert_eq!(hosts.get("b"), Some(&[][..]));
    }

    #[test]
    fn a_hosts_file_is_read_as_the_c_library_reads_it() {
        let hosts = StaticHosts::from_hosts_file(
            "127.0.0.1 localhost\n\
             10.0.0.1\tapi.test API # comment\n\
             # 10.0.0.2 off.test\n\
             10.0.0.3 api.test\n\
             not-an-address x.test\n\
             ::1 api.test.\n\
             10.0.0.4\n",
        );
        assert_eq!(
            found(&hosts, "api.test").unwrap(),
            ["10.0.0.1", "10.0.0.3", "::1"]
        );
        assert_eq!(found(&hosts, "api").unwrap(), ["10.0.0.1"]);
        assert_eq!(found(&hosts, "off.test"), None);
        assert_eq!(found(&hosts, "x.test"), None);
    }
}
