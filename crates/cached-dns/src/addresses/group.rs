//! The addresses of one name, their families apart, and the cursor of their rotation.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The most addresses kept of one name. A UDP answer of 1,232 bytes holds fewer than 80; a
/// hostile one over TCP could hold 4,000.
pub(crate) const MAX_ADDRS: usize = 256;
/// The most that are looked at for these: an iterator may have no end.
const MAX_SEEN: usize = 4096;

/// Addresses in the order of preference, grouped by family, the family of the first one first.
///
/// Answers and pinned names are made of it; demotion and rotation go by its indices.
#[derive(Debug, Default)]
pub(crate) struct Group {
    addrs: Box<[SocketAddr]>,
    /// The number of addresses of the first family.
    split: usize,
    /// The number of times that it was served: the hit count and the cursor of the rotation in one.
    served: AtomicUsize,
    /// The place at which the rotation began.
    seed: usize,
}

impl Group {
    /// Without duplicates, and at most [`MAX_ADDRS`], of which each family gets its half if it needs
    /// it: a long list of one family does not push the other out.
    pub(crate) fn of(addrs: impl IntoIterator<Item = SocketAddr>) -> Self {
        let mut known = HashSet::new();
        let addrs = addrs.into_iter().take(MAX_SEEN);
        let mut addrs: Vec<_> = addrs.filter(|addr| known.insert(*addr)).collect();
        let Some(first) = addrs.first().map(SocketAddr::is_ipv6) else {
            return Self::default();
        };
        // Stable: within a family the order stands.
        addrs.sort_by_key(|addr| addr.is_ipv6() != first);
        let mut split = addrs.partition_point(|addr| addr.is_ipv6() == first);
        let others = addrs.len() - split;
        let kept = split.min(MAX_ADDRS - others.min(MAX_ADDRS / 2));
        // The ends of both families go: what is preferred stays.
        addrs.drain(kept..split);
        addrs.truncate(MAX_ADDRS);
        split = kept;
        Self {
            addrs: addrs.into(),
            split,
            ..Self::default()
        }
    }

    /// The counters go on where those of the group before stood. What is counted between this copy
    /// and the replacement is lost: a rotation repeats an address.
    pub(crate) fn after(self, old: &Self) -> Self {
        Self {
            served: AtomicUsize::new(old.served()),
            seed: old.seed,
            ..self
        }
    }

    /// The rotation begins here.
    pub(crate) fn seeded(self, seed: usize) -> Self {
        Self { seed, ..self }
    }

    /// The numbers of addresses of the first and of the other family.
    pub(crate) fn families(&self) -> (usize, usize) {
        (self.split, self.addrs.len() - self.split)
    }

    pub(crate) fn served(&self) -> usize {
        self.served.load(Relaxed)
    }

    /// Counts, and returns the place of the rotation.
    pub(crate) fn serve(&self) -> usize {
        self.seed.wrapping_add(self.served.fetch_add(1, Relaxed))
    }

    /// Returns true if it has the same addresses, in whatever order within a family.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        // Without duplicates and of one length, what one has of the other is all of it.
        self.families() == other.families() && self.iter().all(|addr| other.contains(addr))
    }
}

impl Deref for Group {
    type Target = [SocketAddr];

    fn deref(&self) -> &[SocketAddr] {
        &self.addrs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(s: &str) -> SocketAddr {
        format!("{s}:0").parse().unwrap()
    }

    #[test]
    fn families_keep_their_order_and_lose_duplicates() {
        let given = ["[::1]", "10.0.0.1", "[::2]", "[::1]", "10.0.0.2"].map(addr);
        let group = Group::of(given);
        assert_eq!(*group, ["[::1]", "[::2]", "10.0.0.1", "10.0.0.2"].map(addr));
        assert_eq!(group.families(), (2, 2));
        assert_eq!(Group::of([]).families(), (0, 0));
    }

    #[test]
    fn the_cap_leaves_room_for_both_families() {
        let v6 = (0..1000_u16).map(|n| ([0xfd00, 0, 0, 0, 0, 0, 0, n], 0).into());
        let v4 = (0..4_u8).map(|n| ([10, 0, 0, n], 0).into());
        let v6: Vec<SocketAddr> = v6.collect();
        let few: Vec<SocketAddr> = v4.collect();
        let of =
            |a: &[SocketAddr], b: &[SocketAddr]| Group::of(a.iter().chain(b).copied()).families();
        assert_eq!(of(&v6, &few), (252, 4));
        assert_eq!(of(&few, &v6), (4, 252));
        assert_eq!(of(&v6, &[]), (256, 0));
        let many: Vec<SocketAddr> = (0..1000_u16)
            .map(|n| ([10, 0, n.to_be_bytes()[0], n.to_be_bytes()[1]], 0).into())
            .collect();
        assert_eq!(of(&many, &v6), (128, 128));
    }
}
