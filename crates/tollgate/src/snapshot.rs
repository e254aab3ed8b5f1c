//! The state of a client.

use std::fmt;
use std::time::Duration;

use tollgate_cached_dns::{DnsHandle, DnsStats, NameSnapshot};
use tollgate_core::Table;
use tollgate_keep_alive::{KeepAlive, OriginStats};

#[cfg(feature = "sockets")]
use crate::kernel::{self, OriginSockets};

/// The state of a client: its origins, and the names it knows. `Display` prints a table of the
/// origins, one of the names if it knows any, and with the feature `sockets` one of what the kernel
/// knows of their addresses.
///
/// Each origin is read at one moment of its own.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// One entry an origin, in the order of their names.
    pub origins: Vec<OriginStats>,
    /// The same of the connections for exchanges that last; empty where they have
    /// [none of their own](crate::ClientBuilder::max_long_lived_per_origin).
    pub long_lived: Vec<OriginStats>,
    /// One entry a name, in the order of the names; empty with a connector of your own.
    pub names: Vec<NameSnapshot>,
    /// The DNS cache's counters; `None` with a connector of your own.
    pub dns: Option<DnsStats>,
    /// The kernel's view: one entry for each address of an origin that there are sockets to. Empty
    /// where the kernel cannot be read. Feature `sockets`.
    #[cfg(feature = "sockets")]
    pub sockets: Vec<OriginSockets>,
}

impl Snapshot {
    pub(crate) fn of(
        pool: &KeepAlive,
        long_lived: Option<&KeepAlive>,
        dns: Option<&DnsHandle>,
    ) -> Self {
        let mut names = dns.map(DnsHandle::snapshot).unwrap_or_default();
        names.sort_by(|a, b| a.name.cmp(&b.name));
        let origins = pool.snapshot().origins;
        let lasting = long_lived.map_or_else(Vec::new, |pool| pool.snapshot().origins);
        Self {
            #[cfg(feature = "sockets")]
            sockets: kernel::rows(
                origins.iter().chain(&lasting),
                &[Some(pool), long_lived],
                dns,
            ),
            origins,
            long_lived: lasting,
            names,
            dns: dns.map(DnsHandle::stats),
        }
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        table(ORIGINS, self.origins.iter().map(origin)).fmt(f)?;
        if !self.long_lived.is_empty() {
            f.write_str("\n\nlong-lived exchanges\n")?;
            table(ORIGINS, self.long_lived.iter().map(origin)).fmt(f)?;
        }
        if !self.names.is_empty() {
            f.write_str("\n\n")?;
            table(NAMES, self.names.iter().map(name)).fmt(f)?;
        }
        #[cfg(feature = "sockets")]
        if !self.sockets.is_empty() {
            f.write_str("\n\n")?;
            table(
                kernel::COLUMNS,
                self.sockets.iter().map(OriginSockets::cells),
            )
            .fmt(f)?;
        }
        Ok(())
    }
}

const NAMES: [&str; 7] = [
    "name",
    "state",
    "addresses",
    "age",
    "ttl",
    "hits",
    "failures",
];

const ORIGINS: [&str; 14] = [
    "origin",
    "open",
    "idle",
    "active",
    "connecting",
    "queued",
    "peak",
    "limit",
    "opened",
    "reused",
    "mean wait",
    "refused",
    "timed out",
    "failed",
];

fn origin(stats: &OriginStats) -> [String; 14] {
    let nanos = stats.wait_time.as_nanos() / u128::from(stats.waited.max(1));
    let mean = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
    [
        stats.origin.to_string(),
        stats.open.to_string(),
        stats.idle.to_string(),
        stats.active.to_string(),
        stats.connecting.to_string(),
        stats.queued.to_string(),
        stats.queued_peak.to_string(),
        stats
            .limit
            .map_or_else(|| "-".to_owned(), |limit| limit.to_string()),
        stats.opened.to_string(),
        stats.reused.to_string(),
        format!("{mean:.1?}"),
        stats.refused.to_string(),
        stats.timed_out.to_string(),
        stats.failed.to_string(),
    ]
}

fn name(name: &NameSnapshot) -> [String; 7] {
    [
        name.name.to_string(),
        format!("{:?}", name.state).to_lowercase(),
        name.addrs.len().to_string(),
        format!("{:.1?}", name.age),
        format!("{:.1?}", name.ttl),
        name.hits.to_string(),
        name.failures.to_string(),
    ]
}

fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> Table {
    let mut table = Table::new(&head);
    rows.for_each(|row| table.push(row));
    table
}
