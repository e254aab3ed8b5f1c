//! What changed from one answer to the next.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::broadcast::{self, error::RecvError};

use crate::entry::Entry;

/// The addresses of a name changed.
///
/// An answer with the same addresses in another order is no change, and neither is the first
/// answer. A port of 0 stands for any port.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DnsChange {
    /// The name, in lower case.
    pub name: Arc<str>,
    /// Addresses that the answer before did not have.
    pub added: Arc<[SocketAddr]>,
    /// Addresses that this answer does not have any more. They may come back with the next: some
    /// servers show a few of many addresses at a time.
    pub removed: Arc<[SocketAddr]>,
    /// Addresses that were missing from two answers in a row, or from the first one after the
    /// name was invalidated: connections to them should be retired.
    pub gone: Arc<[SocketAddr]>,
}

/// An address that was in an answer and is not in the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Absent {
    addr: SocketAddr,
    /// From how many answers in a row it was missing.
    misses: u8,
    /// Whether a [`DnsChange`] said so.
    reported: bool,
}

/// Absent from this many answers in a row, an address is gone.
const MISSES: u8 = 2;

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Delta {
    added: Vec<SocketAddr>,
    removed: Vec<SocketAddr>,
    gone: Vec<SocketAddr>,
}

impl Delta {
    pub(crate) fn into_change(self, name: Arc<str>) -> Option<DnsChange> {
        (self != Self::default()).then(|| DnsChange {
            name,
            added: self.added.into(),
            removed: self.removed.into(),
            gone: self.gone.into(),
        })
    }
}

/// Compares an answer with what was known, and says which addresses to keep an eye on.
///
/// A family that an incomplete answer does not have says nothing about its addresses.
pub(crate) fn compare(old: &Entry, new: &[SocketAddr], complete: bool) -> (Delta, Box<[Absent]>) {
    let mut delta = Delta::default();
    let mut absent = Vec::new();
    if !old.is_answered() {
        return (delta, absent.into());
    }
    let unheard =
        |addr: &SocketAddr| !complete && !new.iter().any(|new| new.is_ipv6() == addr.is_ipv6());
    let unseen = old.addrs.iter().map(|&addr| Absent {
        addr,
        misses: 0,
        reported: false,
    });
    for mut missing in unseen.chain(old.absent.iter().copied()) {
        if new.contains(&missing.addr) {
            if missing.reported {
                delta.added.push(missing.addr);
            }
            continue;
        }
        if !unheard(&missing.addr) {
            missing.misses += 1;
            if !missing.reported {
                missing.reported = true;
                delta.removed.push(missing.addr);
            }
        }
        match missing.misses {
            MISSES.. => delta.gone.push(missing.addr),
            _ => absent.push(missing),
        }
    }
    let known = |addr: &SocketAddr| {
        old.addrs.contains(addr) || old.absent.iter().any(|absent| absent.addr == *addr)
    };
    delta.added.extend(new.iter().filter(|addr| !known(addr)));
    (delta, absent.into())
}

/// What is left of an entry that was invalidated: its addresses, one answer away from gone.
pub(crate) fn all_absent(old: &Entry) -> Box<[Absent]> {
    let served = old.addrs.iter().map(|&addr| Absent {
        addr,
        misses: MISSES - 1,
        reported: false,
    });
    let before = old.absent.iter().map(|&absent| Absent {
        misses: MISSES - 1,
        ..absent
    });
    served.chain(before).collect()
}

/// The changes of all names, as they happen; made by [`DnsHandle::subscribe`](crate::DnsHandle).
#[derive(Debug)]
pub struct DnsChanges {
    receiver: broadcast::Receiver<DnsChange>,
    missed: u64,
}

/// How many changes wait for a subscriber before it misses the oldest.
pub(crate) const MAX_CHANGES: usize = 256;

impl DnsChanges {
    pub(crate) fn new(receiver: broadcast::Receiver<DnsChange>) -> Self {
        Self {
            receiver,
            missed: 0,
        }
    }

    /// The next change; `None` when the cache is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<DnsChange> {
        loop {
            match self.receiver.recv().await {
                Ok(change) => return Some(change),
                Err(RecvError::Lagged(missed)) => self.missed += missed,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// How many changes were missed because more than 256 were waiting. When this grows, a
    /// [`snapshot`](crate::DnsHandle::snapshot) tells where things stand.
    pub fn missed(&self) -> u64 {
        self.missed
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn addrs<const N: usize>(addrs: [&str; N]) -> Vec<SocketAddr> {
        addrs
            .iter()
            .map(|a| format!("{a}:0").parse().unwrap())
            .collect()
    }

    fn entry<const N: usize>(now: [&str; N], absent: Box<[Absent]>) -> Entry {
        Entry {
            absent,
            ..Entry::fixed(addrs(now), Instant::now())
        }
    }

    #[test]
    fn an_address_is_removed_at_once_and_gone_after_two_answers() {
        let old = entry(["1.0.0.1", "1.0.0.2"], Box::default());
        let new = addrs(["1.0.0.2", "1.0.0.3"]);
        let (delta, absent) = compare(&old, &new, true);
        assert_eq!(delta.added, addrs(["1.0.0.3"]));
        assert_eq!(delta.removed, addrs(["1.0.0.1"]));
        assert!(delta.gone.is_empty());

        let old = entry(["1.0.0.2", "1.0.0.3"], absent);
        let (delta, absent) = compare(&old, &new, true);
        assert_eq!((delta.added.len(), delta.removed.len()), (0, 0));
        assert_eq!(delta.gone, addrs(["1.0.0.1"]));
        assert!(absent.is_empty());
    }

    #[test]
    fn an_address_that_comes_back_is_added_and_not_gone() {
        let old = entry(["1.0.0.1", "1.0.0.2"], Box::default());
        let (_, absent) = compare(&old, &addrs(["1.0.0.2"]), true);
        let old = entry(["1.0.0.2"], absent);
        let (delta, absent) = compare(&old, &addrs(["1.0.0.1", "1.0.0.2"]), true);
        assert_eq!(delta.added, addrs(["1.0.0.1"]));
        assert!(delta.gone.is_empty() && absent.is_empty());
    }

    #[test]
    fn another_order_is_no_change() {
        let old = entry(["1.0.0.1", "1.0.0.2"], Box::default());
        let (delta, _) = compare(&old, &addrs(["1.0.0.2", "1.0.0.1"]), true);
        assert_eq!(delta.into_change("a".into()), None);
    }

    #[test]
    fn a_family_that_did_not_answer_has_lost_nothing() {
        let mut old = entry(["[::1]", "1.0.0.1"], Box::default());
        for _ in 0..3 {
            let (delta, absent) = compare(&old, &addrs(["1.0.0.1"]), false);
            assert_eq!(delta, Delta::default());
            assert_eq!(absent.len(), 1);
            old = entry(["1.0.0.1"], absent);
        }
        let (delta, _) = compare(&old, &addrs(["1.0.0.1"]), true);
        assert_eq!(delta.removed, addrs(["[::1]"]));
    }

    #[test]
    fn after_an_invalidation_the_first_answer_decides() {
        let served = entry(["1.0.0.1", "1.0.0.2"], Box::default());
        let old = entry([], all_absent(&served));
        let (delta, absent) = compare(&old, &addrs(["1.0.0.2"]), true);
        assert_eq!(delta.gone, addrs(["1.0.0.1"]));
        assert_eq!(delta.removed, addrs(["1.0.0.1"]));
        assert!(delta.added.is_empty() && absent.is_empty());
    }

    #[test]
    fn the_first_answer_is_no_change() {
        let old = Entry::empty(Instant::now());
        let (delta, _) = compare(&old, &addrs(["1.0.0.1"]), true);
        assert_eq!(delta, Delta::default());
    }
}
