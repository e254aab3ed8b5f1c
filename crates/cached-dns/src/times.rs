//! The instants at which an entry's worth changes, and the order of its addresses.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Config;

/// The instants at which an entry's worth changes, in order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) born: Instant,
    pub(crate) refresh_at: Instant,
    pub(crate) expires: Instant,
    pub(crate) revalidate_until: Instant,
    pub(crate) stale_until: Instant,
}

impl Times {
    /// `lifetime` fresh, of which the refresh starts at `refresh_at`.
    pub(crate) fn of(
        born: Instant,
        lifetime: Duration,
        refresh_at: Duration,
        config: &Config,
    ) -> Self {
        let stale = |span: Duration| later(born, lifetime.saturating_add(span));
        Self {
            born,
            refresh_at: later(born, refresh_at.min(lifetime)),
            expires: later(born, lifetime),
            revalidate_until: stale(config.swr.min(config.max_stale)),
            stale_until: stale(config.max_stale),
        }
    }

    /// Over from the start.
    pub(crate) fn never(now: Instant) -> Self {
        Self {
            born: now,
            refresh_at: now,
            expires: now,
            revalidate_until: now,
            stale_until: now,
        }
    }
}

/// Long enough for "for ever", and no overflow of the clock.
pub(crate) const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

pub(crate) fn later(start: Instant, span: Duration) -> Instant {
    start + span.min(FOREVER)
}

/// Without duplicates, and the families apart: the one of the first address, then the other.
pub(crate) fn grouped(addrs: Vec<SocketAddr>) -> (Box<[SocketAddr]>, usize) {
    let mut seen = Vec::with_capacity(addrs.len());
    for addr in addrs {
        if !seen.contains(&addr) {
            seen.push(addr);
        }
    }
    let Some(first) = seen.first().map(SocketAddr::is_ipv6) else {
        return (Box::default(), 0);
    };
    seen.sort_by_key(|addr| addr.is_ipv6() != first);
    let split = seen.partition_point(|addr| addr.is_ipv6() == first);
    (seen.into(), split)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(s: &str) -> SocketAddr {
        format!("{s}:0").parse().unwrap()
    }

    #[test]
    fn families_are_grouped_in_the_order_given_and_duplicates_dropped() {
        let given = ["[::1]", "10.0.0.1", "[::2]", "[::1]", "10.0.0.2"].map(addr);
        let (addrs, split) = grouped(given.to_vec());
        assert_eq!(*addrs, ["[::1]", "[::2]", "10.0.0.1", "10.0.0.2"].map(addr));
        assert_eq!(split, 2);
        assert_eq!(grouped(Vec::new()).1, 0);
    }

    #[test]
    fn an_endless_lifetime_does_not_overflow_the_clock() {
        let now = Instant::now();
        let times = Times::of(now, Duration::MAX, Duration::MAX, &Config::DEFAULT);
        assert!(times.stale_until > now);
    }
}
