//! Addresses that did not work lately go to the end of their family.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::lock::{read, write};

use super::group::Group;

/// The first demotion; `OkHttp` and the AWS CRT keep a bad address back until another one fails,
/// which needs no clock and never forgives.
const FIRST: Duration = Duration::from_secs(1);
/// The longest demotion.
const LONGEST: Duration = Duration::from_secs(60);
/// The number of addresses that are remembered.
const MAX_DEMOTED: usize = 1024;

pub(crate) struct Demotions {
    epoch: Instant,
    /// Milliseconds since `epoch` until the last demotion ends: the hit path reads only this.
    until: AtomicU64,
    /// Guards plain values; nothing but map operations under it.
    map: RwLock<HashMap<SocketAddr, Demotion>>,
}

#[derive(Clone, Copy, Debug)]
struct Demotion {
    failures: u32,
    until: Instant,
}

impl Demotions {
    pub(crate) fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            until: AtomicU64::new(0),
            map: RwLock::default(),
        }
    }

    /// `addr` failed. An answer without ports stands for this address too.
    pub(crate) fn failed(&self, addr: SocketAddr, now: Instant) {
        let mut map = write(&self.map);
        for addr in with_any_port(addr) {
            if map.len() >= MAX_DEMOTED && !map.contains_key(&addr) {
                make_room(&mut map, now);
            }
            let demotion = map.entry(addr).or_insert(Demotion {
                failures: 0,
                until: now,
            });
            // Over for longer than the longest one lasts, it is no evidence any more: the doubling
            // begins anew.
            if now > demotion.until + LONGEST {
                demotion.failures = 0;
            }
            // Far beyond the longest, and short of a shift that overflows.
            let doublings = demotion.failures.min(16);
            demotion.failures += 1;
            demotion.until = now + (FIRST * (1 << doublings)).min(LONGEST);
            self.until.fetch_max(self.millis(demotion.until), Relaxed);
        }
    }

    /// `addr` works.
    pub(crate) fn worked(&self, addr: SocketAddr) {
        // Nothing is demoted, as nearly always: a dial that succeeds takes no lock.
        if self.until.load(Relaxed) == 0 {
            return;
        }
        let mut map = write(&self.map);
        for addr in with_any_port(addr) {
            map.remove(&addr);
        }
        // Lowered with the last alone, and under the lock under which it is raised: too late a time
        // costs a look at the map, too early a one would put a dead address first.
        if map.is_empty() {
            self.until.store(0, Relaxed);
        }
    }

    /// Returns the time that `addr` is still demoted.
    pub(crate) fn left(&self, addr: SocketAddr, now: Instant) -> Option<Duration> {
        let map = read(&self.map);
        let left = map.get(&addr)?.until.checked_duration_since(now)?;
        (!left.is_zero()).then_some(left)
    }

    pub(crate) fn len(&self) -> usize {
        read(&self.map).len()
    }

    /// The order in which to try the addresses of `group`, if any of them is demoted: each family
    /// begins at its `start`, and the demoted go last, the one that is free soonest first.
    pub(crate) fn order(
        &self,
        group: &Group,
        starts: (usize, usize),
        now: Instant,
    ) -> Option<Box<[u16]>> {
        if self.millis(now) >= self.until.load(Relaxed) {
            return None;
        }
        let map = read(&self.map);
        let until = |index: u16| {
            let demotion = map.get(&group[usize::from(index)])?;
            (demotion.until > now).then_some(demotion.until)
        };
        let (split, len) = (group.families().0, group.len());
        if !(0..len).any(|index| until(index_of(index)).is_some()) {
            return None;
        }
        let first = rotated(0, split, starts.0);
        let second = rotated(split, len, starts.1);
        let mut order: Vec<u16> = first.chain(second).map(index_of).collect();
        let (first, second) = order.split_at_mut(split);
        // Stable, and `None` sorts before every instant: the healthy keep their rotation.
        first.sort_by_key(|&index| until(index));
        second.sort_by_key(|&index| until(index));
        Some(order.into())
    }

    fn millis(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.epoch);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

fn rotated(from: usize, to: usize, start: usize) -> impl Iterator<Item = usize> {
    let len = to - from;
    (0..len).map(move |i| from + (start + i) % len)
}

fn index_of(index: usize) -> u16 {
    u16::try_from(index).unwrap_or(u16::MAX)
}

fn with_any_port(addr: SocketAddr) -> impl Iterator<Item = SocketAddr> {
    let any = SocketAddr::new(addr.ip(), 0);
    std::iter::once(any).chain((addr.port() != 0).then_some(addr))
}

fn make_room(map: &mut HashMap<SocketAddr, Demotion>, now: Instant) {
    map.retain(|_, demotion| demotion.until > now);
    if map.len() >= MAX_DEMOTED {
        // All of them hold: the one that ends soonest is the least to lose.
        let soonest = map.iter().min_by_key(|(_, demotion)| demotion.until);
        if let Some(addr) = soonest.map(|(addr, _)| *addr) {
            map.remove(&addr);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(last: u8, port: u16) -> SocketAddr {
        ([10, 0, 0, last], port).into()
    }

    fn order(demotions: &Demotions, group: &Group, now: Instant) -> Option<Vec<u16>> {
        demotions.order(group, (1, 0), now).map(Vec::from)
    }

    #[test]
    fn a_demoted_address_goes_last_until_it_expires() {
        let now = Instant::now();
        let demotions = Demotions::new(now);
        let group = Group::of((1..=3).map(|n| addr(n, 0)));
        assert_eq!(order(&demotions, &group, now), None);
        demotions.failed(addr(2, 443), now);
        assert_eq!(order(&demotions, &group, now).unwrap(), [2, 0, 1]);
        assert_eq!(order(&demotions, &group, now + FIRST), None);
    }

    #[test]
    fn demotion_doubles_to_a_minute_until_success() {
        let mut now = Instant::now();
        let demotions = Demotions::new(now);
        let mut lefts = Vec::new();
        for _ in 0..8 {
            demotions.failed(addr(1, 80), now);
            let left = demotions.left(addr(1, 0), now).unwrap();
            lefts.push(left.as_secs());
            now += left;
        }
        assert_eq!(lefts, [1, 2, 4, 8, 16, 32, 60, 60]);
        demotions.worked(addr(1, 80));
        demotions.failed(addr(1, 80), now);
        assert_eq!(demotions.left(addr(1, 80), now), Some(FIRST));
    }

    #[test]
    fn among_demoted_addresses_the_soonest_free_leads() {
        let now = Instant::now();
        let demotions = Demotions::new(now);
        let group = Group::of((1..=3).map(|n| addr(n, 0)));
        for (last, times) in [(1, 2), (2, 3), (3, 1)] {
            (0..times).for_each(|_| demotions.failed(addr(last, 0), now));
        }
        assert_eq!(order(&demotions, &group, now).unwrap(), [2, 0, 1]);
    }

    #[test]
    fn families_keep_their_order() {
        let now = Instant::now();
        let demotions = Demotions::new(now);
        let v6: SocketAddr = "[::1]:0".parse().unwrap();
        let group = Group::of([v6, addr(1, 0), addr(2, 0)]);
        demotions.failed(v6, now);
        demotions.failed(addr(1, 0), now);
        assert_eq!(order(&demotions, &group, now).unwrap(), [0, 2, 1]);
    }

    #[test]
    fn the_memory_is_bounded() {
        let now = Instant::now();
        let demotions = Demotions::new(now);
        for n in 0..4000_u32 {
            demotions.failed((n.to_be_bytes(), 80).into(), now);
        }
        assert!(demotions.len() <= MAX_DEMOTED);
    }
}
