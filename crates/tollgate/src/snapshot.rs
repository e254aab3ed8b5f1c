//! The state of a client.

use std::fmt;
use std::time::Duration;

use tollgate_cached_dns::{DnsHandle, DnsStats, NameSnapshot};
use tollgate_keep_alive::{KeepAlive, OriginStats};

/// The state of a client: its origins, and the names it knows. `Display` prints a table of the
/// origins, and one of the names if it knows any.
///
/// Each origin is read at one moment of its own.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// One entry an origin, in the order of their names.
    pub origins: Vec<OriginStats>,
    /// One entry a name, in the order of the names; empty with a connector of your own.
    pub names: Vec<NameSnapshot>,
    /// The DNS cache's counters; `None` with a connector of your own.
    pub dns: Option<DnsStats>,
}

impl Snapshot {
    pub(crate) fn of(pool: &KeepAlive, dns: Option<&DnsHandle>) -> Self {
        let mut names = dns.map(DnsHandle::snapshot).unwrap_or_default();
        names.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            origins: pool.snapshot().origins,
            names,
            dns: dns.map(DnsHandle::stats),
        }
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origins: Vec<_> = self.origins.iter().map(origin).collect();
        table(f, ORIGINS, &origins)?;
        if self.names.is_empty() {
            return Ok(());
        }
        f.write_str("\n\n")?;
        let names: Vec<_> = self.names.iter().map(name).collect();
        table(f, NAMES, &names)
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

/// Columns as wide as their widest cell: the first to the left, the others to the right.
fn table<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    header: [&str; N],
    rows: &[[String; N]],
) -> fmt::Result {
    let mut widths = header.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    line(f, widths, header)?;
    for row in rows {
        f.write_str("\n")?;
        line(f, widths, row.each_ref().map(String::as_str))?;
    }
    Ok(())
}

fn line<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    widths: [usize; N],
    cells: [&str; N],
) -> fmt::Result {
    for (n, (cell, width)) in cells.iter().zip(widths).enumerate() {
        match n {
            0 => write!(f, "{cell:width$}")?,
            _ => write!(f, "  {cell:>width$}")?,
        }
    }
    Ok(())
}
