//! What follows when addresses leave an answer: first a doubt, then the connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tollgate_cached_dns::DnsHandle;
use tollgate_keep_alive::KeepAlive;

use super::TICK;

/// After an address is missed for the first time. Traffic is to have moved 2 s after the TTL:
/// this, the tick and eight paces take 1.7 s of them.
const DOUBT: Duration = Duration::from_millis(750);
/// A name is doubted once in this time, so that one that changes with every answer is not asked for
/// much more often than its TTL wants.
const DOUBT_EVERY: Duration = Duration::from_secs(10);
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
pub(super) struct Doubt {
    pub(super) name: Arc<str>,
    /// When it is asked for again; and once it was, until when it is not doubted again.
    pub(super) next: Instant,
    asked: bool,
}

/// The addresses that a name has lost.
pub(super) struct Leaving {
    pub(super) name: Arc<str>,
    addrs: Vec<SocketAddr>,
    /// Its answers keep changing.
    pub(super) slow: bool,
    /// How many connections leave at a time; 0 before they were counted.
    group: usize,
    pub(super) next: Instant,
    pub(super) until: Instant,
}

impl Doubt {
    pub(super) fn new(name: Arc<str>, now: Instant) -> Self {
        Self {
            name,
            next: now + DOUBT,
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
        self.next = now + DOUBT_EVERY;
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
        drop(self.addrs.drain(..too_many));
        self.group = 0;
        self.until = now + AFTERMATH;
    }

    /// Retires a group. Whether to go on.
    pub(super) fn step(&mut self, pool: &KeepAlive, dns: &DnsHandle, now: Instant) -> bool {
        if now < self.next {
            return true;
        }
        self.next = now + if self.slow { SLOW_PACE } else { PACE };
        let has = dns.addrs(&self.name);
        if has.is_empty() {
            // There is nowhere to go: what works is better than nothing.
            return now < self.until;
        }
        self.addrs.retain(|addr| !has.contains(addr));
        if self.group == 0 {
            let all = pool.retire_some(&self.name, &self.addrs, 0);
            self.group = all.div_ceil(GROUPS);
        }
        let group = if self.slow { 1 } else { self.group };
        let left = pool.retire_some(&self.name, &self.addrs, group);
        if left == 0 {
            self.next = now + TICK;
            self.group = 0;
        }
        !self.addrs.is_empty() && (left > 0 || now < self.until)
    }
}
