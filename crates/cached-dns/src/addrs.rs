//! The answer a caller gets.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::awaited::Awaited;
use crate::entry::Entry;

/// The addresses of a name, in the order to try them: an iterator that owns what it needs.
///
/// The family of the backend's first address comes first; inside a family the addresses rotate, and
/// those that failed lately come last. Port 0 leaves the port to the URI.
#[derive(Clone, Debug)]
pub struct Addrs {
    source: Source,
    next: usize,
    freshness: Freshness,
}

#[derive(Clone, Debug)]
enum Source {
    Literal(SocketAddr),
    /// Where each family begins.
    Rotated(Arc<Entry>, usize, usize),
    Ordered(Arc<Entry>, Box<[u16]>),
}

/// Whether an answer is within its lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Freshness {
    /// It is.
    Fresh,
    /// It is not: a newer one is on its way, or could not be had.
    Stale {
        /// How long ago the backend gave it.
        age: Duration,
    },
}

impl Addrs {
    pub(crate) fn literal(ip: IpAddr) -> Self {
        Self::new(Source::Literal(SocketAddr::new(ip, 0)), Freshness::Fresh)
    }

    pub(crate) fn rotated(
        entry: Arc<Entry>,
        starts: (usize, usize),
        order: Option<Box<[u16]>>,
        freshness: Freshness,
    ) -> Self {
        let source = match order {
            Some(order) => Source::Ordered(entry, order),
            None => Source::Rotated(entry, starts.0, starts.1),
        };
        Self::new(source, freshness)
    }

    fn new(source: Source, freshness: Freshness) -> Self {
        Self {
            source,
            next: 0,
            freshness,
        }
    }

    /// Whether this answer is within its lifetime.
    pub fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// What follows, if something may.
    pub(crate) fn awaited(&self) -> Option<&Awaited> {
        match &self.source {
            Source::Literal(_) => None,
            Source::Rotated(entry, ..) | Source::Ordered(entry, _) => {
                entry.awaited.as_ref().filter(|awaited| !awaited.is_over())
            }
        }
    }

    fn total(&self) -> usize {
        match &self.source {
            Source::Literal(_) => 1,
            Source::Rotated(entry, ..) | Source::Ordered(entry, _) => entry.addrs.len(),
        }
    }
}

impl Iterator for Addrs {
    type Item = SocketAddr;

    fn next(&mut self) -> Option<SocketAddr> {
        let index = self.next;
        if index >= self.total() {
            return None;
        }
        self.next += 1;
        Some(match &self.source {
            Source::Literal(addr) => *addr,
            Source::Ordered(entry, order) => entry.addrs[usize::from(order[index])],
            Source::Rotated(entry, first, _) if index < entry.split => {
                entry.addrs[wrapped(first + index, entry.split)]
            }
            Source::Rotated(entry, _, second) => {
                let len = entry.addrs.len() - entry.split;
                entry.addrs[entry.split + wrapped(second + index - entry.split, len)]
            }
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.total() - self.next;
        (left, Some(left))
    }
}

/// `index` is below twice `len`.
fn wrapped(index: usize, len: usize) -> usize {
    if index < len { index } else { index - len }
}

impl ExactSizeIterator for Addrs {}
impl std::iter::FusedIterator for Addrs {}
