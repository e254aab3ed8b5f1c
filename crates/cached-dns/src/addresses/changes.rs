//! Changes from one answer to the next.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::broadcast::{self, error::RecvError};

use super::group::Group;

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
    /// True if a [`DnsChange`] said so.
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

/// Compares an answer with what was known, and returns the addresses to keep an eye on.
///
/// A family that an incomplete answer does not have is no evidence about its addresses.
pub(crate) fn compare(
    (old, missed): (&Group, &[Absent]),
    new: &[SocketAddr],
    complete: bool,
) -> (Delta, Box<[Absent]>) {
    let mut delta = Delta::default();
    let mut absent = Vec::new();
    let unheard =
        |addr: &SocketAddr| !complete && !new.iter().any(|new| new.is_ipv6() == addr.is_ipv6());
    let unseen = old.iter().map(|&addr| Absent {
        addr,
        misses: 0,
        reported: false,
    });
    for mut missing in unseen.chain(missed.iter().copied()) {
        if new.contains(&missing.addr) {
            // Its return is news if its absence was; else it has never been away.
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
            // Off the list with that: it is reported as gone once.
            MISSES.. => delta.gone.push(missing.addr),
            _ => absent.push(missing),
        }
    }
    let known =
        |addr: &SocketAddr| old.contains(addr) || missed.iter().any(|absent| absent.addr == *addr);
    delta.added.extend(new.iter().filter(|addr| !known(addr)));
    (delta, absent.into())
}

/// Returns the remains of an entry that was invalidated: its addresses, one answer away from gone.
pub(crate) fn all_absent(old: &Group, missed: &[Absent]) -> Box<[Absent]> {
    let served = old.iter().map(|&addr| Absent {
        addr,
        misses: MISSES - 1,
        reported: false,
    });
    let before = missed.iter().map(|&absent| Absent {
        misses: MISSES - 1,
        // `reported` is kept: an address is removed once.
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

/// The number of changes that wait for a subscriber before it misses the oldest.
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
                // Not the end: the channel goes on with the oldest change that is left.
                Err(RecvError::Lagged(missed)) => self.missed += missed,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Returns the number of changes that were missed because more than 256 were waiting. When this
    /// grows, a [`snapshot`](crate::DnsHandle::snapshot) tells where things stand.
    pub fn missed(&self) -> u64 {
        self.missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addrs<const N: usize>(addrs: [&str; N]) -> Vec<SocketAddr> {
        addrs
            .iter()
            .map(|a| format!("{a}:0").parse().unwrap())
            .collect()
    }

    /// The addresses known, and those that are missing.
    type Known = (Group, Box<[Absent]>);

    fn known<const N: usize>(now: [&str; N], absent: Box<[Absent]>) -> Known {
        (Group::of(addrs(now)), absent)
    }

    fn compared(old: &Known, new: &[SocketAddr], complete: bool) -> (Delta, Box<[Absent]>) {
        compare((&old.0, &old.1), new, complete)
    }

    #[test]
    fn removed_addresses_are_gone_after_two_answers() {
        let old = known(["1.0.0.1", "1.0.0.2"], Box::default());
        let new = addrs(["1.0.0.2", "1.0.0.3"]);
        let (delta, absent) = compared(&old, &new, true);
        assert_eq!(delta.added, addrs(["1.0.0.3"]));
        assert_eq!(delta.removed, addrs(["1.0.0.1"]));
        assert!(delta.gone.is_empty());

        let old = known(["1.0.0.2", "1.0.0.3"], absent);
        let (delta, absent) = compared(&old, &new, true);
        assert_eq!((delta.added.len(), delta.removed.len()), (0, 0));
        assert_eq!(delta.gone, addrs(["1.0.0.1"]));
        assert!(absent.is_empty());
    }

    #[test]
    fn a_returning_address_is_added_and_not_gone() {
        let old = known(["1.0.0.1", "1.0.0.2"], Box::default());
        let (_, absent) = compared(&old, &addrs(["1.0.0.2"]), true);
        let old = known(["1.0.0.2"], absent);
        let (delta, absent) = compared(&old, &addrs(["1.0.0.1", "1.0.0.2"]), true);
        assert_eq!(delta.added, addrs(["1.0.0.1"]));
        assert!(delta.gone.is_empty() && absent.is_empty());
    }

    #[test]
    fn another_order_is_no_change() {
        let old = known(["1.0.0.1", "1.0.0.2"], Box::default());
        let (delta, _) = compared(&old, &addrs(["1.0.0.2", "1.0.0.1"]), true);
        assert_eq!(delta.into_change("a".into()), None);
    }

    #[test]
    fn an_unanswered_family_loses_no_address() {
        let mut old = known(["[::1]", "1.0.0.1"], Box::default());
        for _ in 0..3 {
            let (delta, absent) = compared(&old, &addrs(["1.0.0.1"]), false);
            assert_eq!(delta, Delta::default());
            assert_eq!(absent.len(), 1);
            old = known(["1.0.0.1"], absent);
        }
        let (delta, _) = compared(&old, &addrs(["1.0.0.1"]), true);
        assert_eq!(delta.removed, addrs(["[::1]"]));
    }

    #[test]
    fn after_an_invalidation_the_first_answer_decides() {
        let served = known(["1.0.0.1", "1.0.0.2"], Box::default());
        let old = known([], all_absent(&served.0, &served.1));
        let (delta, absent) = compared(&old, &addrs(["1.0.0.2"]), true);
        assert_eq!(delta.gone, addrs(["1.0.0.1"]));
        assert_eq!(delta.removed, addrs(["1.0.0.1"]));
        assert!(delta.added.is_empty() && absent.is_empty());
    }
}
