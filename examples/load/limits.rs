//! What the machine can bear.

use std::fs;
use std::ops::Range;

use crate::time_wait;

/// The most connections that the client without a pool opens: each holds a port for a minute.
const MOST_CONNECTIONS: u64 = 4_000;

/// The files that the process has open besides.
const OTHER_FILES: u64 = 256;

/// The ephemeral ports of a system that does not tell (RFC 6335).
const EPHEMERAL: Range<u64> = 49_152..65_536;

/// Raises the limit on open files as far as this process may, if the load needs it: with an upstream
/// in the same process, each connection is two sockets, and each lookup one.
pub(crate) fn raise_open_files(connections: u64) {
    #[cfg(unix)]
    {
        use nix::sys::resource::{Resource::RLIMIT_NOFILE, getrlimit, setrlimit};

        let wanted = connections * 3 + OTHER_FILES;
        if let Ok((soft, hard)) = getrlimit(RLIMIT_NOFILE)
            && soft < wanted
        {
            // If it is not allowed, the load runs all the same, and errors say what was short.
            setrlimit(RLIMIT_NOFILE, wanted.min(hard), hard).ok();
        }
    }
}

/// Returns the number of connections that to `port` can be opened and closed one after the other
/// without taking more than a quarter of the ports that are left.
pub(crate) fn affordable_connections(wanted: u64, port: u16) -> u64 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok();
    let range = range.as_deref().and_then(parse_range).unwrap_or(EPHEMERAL);
    affordable(wanted, &range, time_wait::count(port).unwrap_or(0))
}

fn affordable(wanted: u64, range: &Range<u64>, waiting: usize) -> u64 {
    let left = (range.end - range.start).saturating_sub(waiting as u64);
    wanted.min(MOST_CONNECTIONS).min((left / 4).max(1))
}

fn parse_range(text: &str) -> Option<Range<u64>> {
    let mut ends = text.split_ascii_whitespace().map(str::parse::<u64>);
    let (first, last) = (ends.next()?.ok()?, ends.next()?.ok()?);
    (first <= last).then_some(first..last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_connections_are_opened_where_ports_are_short() {
        let usual = parse_range("32768\t60999\n").unwrap();
        assert_eq!(usual, 32_768..61_000);
        assert_eq!(affordable(100, &usual, 0), 100);
        assert_eq!(affordable(1_000_000, &usual, 0), MOST_CONNECTIONS);
        assert_eq!(affordable(20_000, &usual, 20_232), 2_000);
        assert_eq!(affordable(20_000, &usual, 60_000), 1);
        assert_eq!(affordable(20_000, &(0..400), 0), 100);
    }

    #[test]
    fn a_range_that_is_none_is_not_believed() {
        for bad in ["", "1", "a b", "9 1"] {
            assert_eq!(parse_range(bad), None, "{bad:?}");
        }
    }
}
