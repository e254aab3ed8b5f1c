//! What follows when addresses leave an answer: first the name is resolved again, then the connections go.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tollgate_cached_dns::DnsHandle;

use super::TICK;
use super::pools::Pools;

/// After an address is missed for the first time. Traffic is to have moved 2 s after the TTL:
/// this, the tick and eight paces take 1.7 s of them.
const RECHECK_AFTER: Duration = Duration::from_millis(750);
/// A name is resolved again once in this time, so that one that changes with every answer is not asked for
/// much more often than its TTL wants.
const RECHECK_EVERY: Duration = Duration::from_secs(10);
/// From one group of connections to the next.
const PACE: Duration = Duration::from_millis(100);
/// The same for a name whose answers keep changing: a pool of 128 needs two minutes, and its
/// connections' lifetime is five.
const SLOW_PACE: Duration = Duration::from_secs(1);
/// Of how many lost addresses of a name connections are looked for.
const MAX_LEAVING: usize = 1024;
/// In as many groups do the connections of a name leave, if there are as many of them.
const GROUPS: usize = 8;
/// For so long after an address is gone is it looked at again: a dial that began before may take
/// the default of `connect_timeout` twice.
const AFTERMATH: Duration = Duration::from_secs(10);

/// An address of the name was missed for the first time.
pub(super) struct Recheck {
    pub(super) name: Arc<str>,
    /// The time of the next lookup; and after it, the end of the time without another.
    pub(super) next: Instant,
    asked: bool,
}

/// The addresses that a name has lost.
pub(super) struct Leaving {
    pub(super) name: Arc<str>,
    addrs: Vec<SocketAddr>,
    /// Its answers keep changing.
    pub(super) slow: bool,
    /// The number of connections retired at a time; 0 before they were counted.
    group: usize,
    pub(super) next: Instant,
    pub(super) until: Instant,
}

impl Recheck {
    pub(super) fn new(name: Arc<str>, now: Instant) -> Self {
        Self {
            name,
            next: now + RECHECK_AFTER,
            asked: false,
        }
    }

    /// Asks again, once. Whether to remember it.
    pub(super) fn step(&mut self, dns: &DnsHandle, now: Instant) -> bool {
        if now < self.next {
            return true;
        }
        if self.asked {
            return false;
        }
        // If it is being asked for already, that is as good.
        dns.refresh(&self.name);
        self.asked = true;
        self.next = now + RECHECK_EVERY;
        true
    }
}

impl Leaving {
    pub(super) fn new(name: Arc<str>, now: Instant) -> Self {
        Self {
            name,
            addrs: Vec::new(),
            slow: false,
            group: 0,
            next: now,
            until: now,
        }
    }

    /// More of them; the connections are counted anew.
    pub(super) fn add(&mut self, gone: &[SocketAddr], now: Instant) {
        for addr in gone {
            if !self.addrs.contains(addr) {
                self.addrs.push(*addr);
            }
        }
        let too_many = self.addrs.len().saturating_sub(MAX_LEAVING);
        // The oldest go, whose connections had the most time to leave.
        drop(self.addrs.drain(..too_many));
        self.group = 0;
        self.until = now + AFTERMATH;
    }

    /// Retires a group. Whether to go on.
    pub(super) fn step(&mut self, pools: Pools<'_>, dns: &DnsHandle, now: Instant) -> bool {
        if now < self.next {
            return true;
        }
        self.next = now + if self.slow { SLOW_PACE } else { PACE };
        let has = dns.addrs(&self.name);
        if has.is_empty() {
            // There is nowhere to go: what works is better than nothing.
            return now < self.until;
        }
        // What is back in the answer keeps its connections.
        self.addrs.retain(|addr| !has.contains(addr));
        // Counted once for all groups: of what remains each time they would grow ever smaller.
        if self.group == 0 {
            let all = pools.retire_some(&self.name, &self.addrs, 0);
            self.group = all.div_ceil(GROUPS);
        }
        let group = if self.slow { 1 } else { self.group };
        let left = pools.retire_some(&self.name, &self.addrs, group);
        if left == 0 {
            self.next = now + TICK;
            self.group = 0;
        }
        !self.addrs.is_empty() && (left > 0 || now < self.until)
    }
}
