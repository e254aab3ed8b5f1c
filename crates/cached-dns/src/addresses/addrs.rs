//! The answer a caller gets.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::awaited::Awaited;
use super::group::Group;

/// The addresses of a name, in the order to try them: an iterator that owns what it needs.
///
/// The family of the backend's first address comes first; inside a family the addresses rotate, and
/// those that failed lately come last. With port 0 the port is the URI's.
#[derive(Clone, Debug)]
pub struct Addrs {
    source: Source,
    next: usize,
    freshness: Freshness,
    /// One family is out.
    awaited: Option<Awaited>,
}

#[derive(Clone, Debug)]
enum Source {
    Literal(SocketAddr),
    /// The index at which each family begins.
    Rotated(Arc<Group>, usize, usize),
    Ordered(Arc<Group>, Box<[u16]>),
}

/// True if an answer is within its lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Freshness {
    /// It is.
    Fresh,
    /// It is not: a newer one is on its way, or could not be had.
    Stale {
        /// The time that ago the backend gave it.
        age: Duration,
    },
}

impl Addrs {
    pub(crate) fn literal(ip: IpAddr) -> Self {
        Self::new(Source::Literal(SocketAddr::new(ip, 0)), Freshness::Fresh)
    }

    pub(crate) fn rotated(
        group: Arc<Group>,
        starts: (usize, usize),
        order: Option<Box<[u16]>>,
        freshness: Freshness,
    ) -> Self {
        let source = match order {
            Some(order) => Source::Ordered(group, order),
            None => Source::Rotated(group, starts.0, starts.1),
        };
        Self::new(source, freshness)
    }

    fn new(source: Source, freshness: Freshness) -> Self {
        Self {
            source,
            next: 0,
            freshness,
            awaited: None,
        }
    }

    pub(crate) fn awaiting(self, awaited: Option<Awaited>) -> Self {
        Self { awaited, ..self }
    }

    /// Returns true if this answer is within its lifetime.
    pub fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// Returns the late addresses, if some may follow.
    pub(crate) fn awaited(&self) -> Option<&Awaited> {
        self.awaited.as_ref().filter(|awaited| !awaited.is_over())
    }

    fn total(&self) -> usize {
        match &self.source {
            Source::Literal(_) => 1,
            Source::Rotated(group, ..) | Source::Ordered(group, _) => group.len(),
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
            Source::Ordered(group, order) => group[usize::from(order[index])],
            Source::Rotated(group, first, second) => {
                let (split, others) = group.families();
                if index < split {
                    group[wrapped(first + index, split)]
                } else {
                    group[split + wrapped(second + index - split, others)]
                }
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
