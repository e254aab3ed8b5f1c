//! Names whose addresses are given: overrides, and the hosts file.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::group::Group;
use crate::values::name::zones;

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
    exact: Table,
    zones: Table,
}

/// Names and their addresses in 16 bytes each and the names' own: a hosts file that blocks
/// advertisements has hundreds of thousands.
#[derive(Clone, Default)]
struct Table {
    /// All names, in lower case, one after the other.
    text: String,
    /// Sorted by name.
    rows: Vec<Row>,
}

#[derive(Clone)]
struct Row {
    start: u32,
    len: u32,
    group: Arc<Group>,
}

impl StaticHosts {
    /// An empty table.
    pub const fn new() -> Self {
        Self {
            exact: Table::new(),
            zones: Table::new(),
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
        table.set(undotted(name), Arc::new(Group::of(addrs)));
        self
    }

    /// Reads the format of `/etc/hosts`; lines that make no sense are left out, as the C library
    /// does.
    ///
    /// Of a name with more than 256 addresses 256 are kept, of each family half if it needs it.
    pub fn from_hosts_file(text: &str) -> Self {
        let mut table = Table::new();
        let mut lines = Vec::new();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut fields = line.split_ascii_whitespace();
            let Some(Ok(ip)) = fields.next().map(str::parse::<IpAddr>) else {
                continue;
            };
            lines.extend(fields.filter_map(|name| Some((table.add(undotted(name))?, ip))));
        }
        // Stable: the addresses of a name stay in the order of the lines.
        lines.sort_by(|(a, _), (b, _)| table.name(*a).cmp(table.name(*b)));
        // Thousands of names that are blocked have one address, and share it.
        let mut alone = HashMap::new();
        let mut rows = Vec::new();
        for same in lines.chunk_by(|(a, _), (b, _)| table.name(*a) == table.name(*b)) {
            let group = || {
                let addrs = same.iter().map(|(_, ip)| SocketAddr::new(*ip, 0));
                Arc::new(Group::of(addrs))
            };
            let group = match same {
                [(_, ip)] => Arc::clone(alone.entry(*ip).or_insert_with(group)),
                _ => group(),
            };
            let (start, len) = same[0].0;
            rows.push(Row { start, len, group });
        }
        table.rows = rows;
        table.text.shrink_to_fit();
        table.rows.shrink_to_fit();
        Self {
            exact: table,
            zones: Table::new(),
        }
    }

    /// The addresses of `name`; `None` if it is not in the table.
    pub fn get(&self, name: &str) -> Option<&[SocketAddr]> {
        self.find(name).map(|group| &***group)
    }

    /// Returns true if the table is empty.
    pub fn is_empty(&self) -> bool {
        self.exact.rows.is_empty() && self.zones.rows.is_empty()
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Arc<Group>> {
        if self.is_empty() {
            return None;
        }
        let name = undotted(name);
        let in_zones = || zones(name).find_map(|zone| self.zones.get(zone));
        self.exact.get(name).or_else(in_zones)
    }
}

impl Table {
    const fn new() -> Self {
        Self {
            text: String::new(),
            rows: Vec::new(),
        }
    }

    fn get(&self, name: &str) -> Option<&Arc<Group>> {
        let found = self.position(name).ok()?;
        Some(&self.rows[found].group)
    }

    fn set(&mut self, name: &str, group: Arc<Group>) {
        match self.position(name) {
            Ok(found) => self.rows[found].group = group,
            Err(place) => {
                if let Some((start, len)) = self.add(name) {
                    self.rows.insert(place, Row { start, len, group });
                }
            }
        }
    }

    /// Adds a name to the text; `None` if there is no room for it in 4 GiB.
    fn add(&mut self, name: &str) -> Option<(u32, u32)> {
        let (start, len) = (
            self.text.len().try_into().ok()?,
            name.len().try_into().ok()?,
        );
        let lower = name.chars().map(|c| c.to_ascii_lowercase());
        self.text.extend(lower);
        Some((start, len))
    }

    fn name(&self, (start, len): (u32, u32)) -> &str {
        let (start, len) = (start as usize, len as usize);
        self.text.get(start..start + len).unwrap_or_default()
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        let lower = || name.bytes().map(|byte| byte.to_ascii_lowercase());
        self.rows.binary_search_by(|row| {
            let known = self.name((row.start, row.len));
            known.bytes().cmp(lower())
        })
    }
}

fn undotted(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

impl fmt::Debug for StaticHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |table: &Table, prefix: &str| -> BTreeMap<String, Arc<Group>> {
            let name = |row: &Row| format!("{prefix}{}", table.name((row.start, row.len)));
            let row = |row: &Row| (name(row), Arc::clone(&row.group));
            table.rows.iter().map(row).collect()
        };
        let mut all = names(&self.exact, "");
        all.extend(names(&self.zones, "*."));
        let all = all.iter().map(|(name, group)| (name, &***group));
        f.debug_map().entries(all).finish()
    }
}

#[cfg(test)]
mod tests;
