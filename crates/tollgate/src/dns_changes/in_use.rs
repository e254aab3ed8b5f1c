//! The names in use, each with the time at which its answer is refreshed.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tollgate_cached_dns::DnsHandle;

use super::pools::Hosts;

/// The shortest time between two looks at a name: a fraction of the last fifth of the shortest TTL, 1 s,
/// in which a refresh is due.
const SHORTEST: Duration = Duration::from_millis(50);
/// The first time until a name is looked at again that the cache does not know yet: its lookup is under
/// way, or another resolver has it.
const UNKNOWN_FOR: Duration = Duration::from_millis(250);
/// The longest such time, after doubling.
const UNKNOWN_FOR_LONG: Duration = Duration::from_secs(60);

/// The names that have connections.
#[derive(Default)]
pub(super) struct InUse {
    due: BTreeSet<(Instant, Arc<str>)>,
    /// The time that each name that the cache does not know is left alone.
    unknown: HashMap<Arc<str>, Duration>,
}

impl InUse {
    /// Returns the time at which the next name is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Returns true if no name is in use.
    pub(super) fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    /// A name came into use.
    pub(super) fn met(&mut self, name: Arc<str>, now: Instant) {
        // An address is no name, and no answer of it ever changes; IPv6 stands in brackets in a
        // host.
        let literal = name.trim_start_matches('[').trim_end_matches(']');
        if literal.parse::<IpAddr>().is_err() && !self.due.iter().any(|(_, one)| *one == name) {
            self.due.insert((now, name));
        }
    }

    /// Refreshes the answers that are due.
    pub(super) fn step(&mut self, hosts: &Hosts, dns: &DnsHandle, now: Instant) {
        while let Some((at, name)) = self.due.pop_first() {
            if at > now {
                self.due.insert((at, name));
                return;
            }
            if !hosts.contains(&name) {
                self.unknown.remove(&name);
                // Out of use: its next connection brings it back.
                continue;
            }
            dns.keep_fresh(&name);
            let next = self.next_look(&name, dns, now);
            self.due.insert((next, name));
        }
    }

    fn next_look(&mut self, name: &Arc<str>, dns: &DnsHandle, now: Instant) -> Instant {
        if let Some(due) = dns.refresh_due(name) {
            self.unknown.remove(name);
            // While a refresh is under way its time is past: without a least wait the task would
            // spin.
            return due.max(now + SHORTEST);
        }
        let wait = self.unknown.entry(name.clone()).or_insert(UNKNOWN_FOR);
        let next = now + *wait;
        *wait = (*wait * 2).min(UNKNOWN_FOR_LONG);
        next
    }
}
