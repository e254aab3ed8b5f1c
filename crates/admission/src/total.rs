//! The total cap: a limit on the connections of all origins, and the line of those that wait for one.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::time::Duration;

use tokio::time::Instant;

/// The most by which an origin that holds places must have waited longer for another's. A choice: a third
/// of the default time that a request waits at all.
const MARGIN: Duration = Duration::from_secs(1);

/// The answer to [`Total::acquire`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "callers must handle each answer")]
pub enum Acquire {
    /// The caller holds a place: it opens a connection, or gives the place back.
    Taken,
    /// None is free, and the key waits now. The caller closes the oldest idle connection of any
    /// origin, if there is one.
    Wait,
    /// None is free, and the key waited already.
    StillWaiting,
}

/// The connections of all origins, counted against one limit (A8).
///
/// A place is held from before an open is started until it failed or the connection is gone. It is
/// touched only then, so one lock round it is not on the way of a request that an idle connection
/// serves.
///
/// Keys that wait stand in order of their oldest request. Each call costs `O(log n)` in the number of
/// waiting keys; [`gives_way`](Self::gives_way) walks past as many more as places are on their way.
///
/// # Protocol
///
/// After each call to the engine of an origin `o`, in one step with it:
///
/// 1. If the pool wants to open: [`acquire`](Self::acquire), and `start_open` where a place was taken.
///    A key that no longer wants to open is [withdrawn](Self::withdraw); one that still waits is
///    brought up to date by [`acquire`](Self::acquire).
/// 2. [`release`](Self::release) as many places as `o` holds beyond its pool's `places`, then
///    [`take_free`](Self::take_free): each key named holds a place, and goes through 1 in its turn.
/// 3. Tell [`yields`](Self::yields) when the number of connections of `o` that are being closed has
///    changed. They are the places on their way to those who wait.
/// 4. If [`is_short`](Self::is_short), close the oldest idle connection of any origin.
/// 5. Whenever the last lease of a connection of `o` comes back: ask [`gives_way`](Self::gives_way),
///    and return the lease as `Retire(CloseReason::Reclaimed)` if so. Otherwise an origin with
///    enough demand to keep its connections busy would never give one to another.
#[derive(Debug)]
pub struct Total<K> {
    max: NonZeroUsize,
    held: usize,
    waiting: BTreeMap<K, Waiter>,
    /// Those that wait, in the order of their oldest request.
    line: BTreeSet<(Instant, u64, K)>,
    /// The part of the line that holds no place at all.
    placeless: BTreeSet<(Instant, u64, K)>,
    /// The number of keys that ever began to wait.
    began: u64,
    /// Connections that are being closed.
    yielding: usize,
    /// Connections that close when their last lease ends, on behalf of those who wait.
    draining: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waiter {
    since: Instant,
    /// Which of those of one instant came first.
    number: u64,
    holds_none: bool,
}

impl<K: Clone + Ord> Total<K> {
    /// A limit with nothing held.
    pub const fn new(max: NonZeroUsize) -> Self {
        Self {
            max,
            held: 0,
            waiting: BTreeMap::new(),
            line: BTreeSet::new(),
            placeless: BTreeSet::new(),
            began: 0,
            yielding: 0,
            draining: 0,
        }
    }

    /// Asks for a place for `key`, whose oldest request waits since `since`, and which holds no
    /// connection at all if `holds_none`. For a connection to spare `since` is later than for any
    /// request. A key waits once; asking again corrects both.
    pub fn acquire(&mut self, key: &K, since: Instant, holds_none: bool) -> Acquire {
        if let Some(known) = self.waiting.get(key).copied() {
            if (known.since, known.holds_none) != (since, holds_none) {
                // The sets are sorted by what changes: out with the old values, in with the new.
                // Its number stays, and with that its turn among those of one instant.
                self.withdraw(key);
                let waiter = Waiter {
                    since,
                    holds_none,
                    ..known
                };
                self.enter(key, waiter);
            }
            return Acquire::StillWaiting;
        }
        // Not past a key that waits, even where a place is free: `take_free` gives it to the first
        // (A8).
        if self.waiting.is_empty() && self.held < self.max.get() {
            self.held += 1;
            return Acquire::Taken;
        }
        // An instant may be shared: the number is the order within it.
        let number = self.began;
        self.began += 1;
        let waiter = Waiter {
            since,
            number,
            holds_none,
        };
        self.enter(key, waiter);
        Acquire::Wait
    }

    fn enter(&mut self, key: &K, waiter: Waiter) {
        self.waiting.insert(key.clone(), waiter);
        let entry = (waiter.since, waiter.number, key.clone());
        if waiter.holds_none {
            self.placeless.insert(entry.clone());
        }
        self.line.insert(entry);
    }

    /// Gives `places` back. [`take_free`](Self::take_free) passes them on.
    pub fn release(&mut self, places: usize) {
        debug_assert!(self.held >= places, "each place is given back once");
        self.held = self.held.saturating_sub(places);
    }

    /// Takes places beyond the limit, which a connection holds that was counted elsewhere before.
    pub const fn take_beyond(&mut self, places: usize) {
        self.held += places;
    }

    /// Takes a free place for the key that has waited longest, which opens a connection or gives the
    /// place back in its turn. To be repeated until it is `None`.
    #[must_use = "the origin named holds a place"]
    pub fn take_free(&mut self) -> Option<K> {
        // More may be held than there are: `take_beyond` asks no limit.
        if self.held >= self.max.get() {
            return None;
        }
        let (.., key) = self.line.first()?.clone();
        // Off the line with its place: named twice, it would hold two.
        self.withdraw(&key);
        self.held += 1;
        Some(key)
    }

    /// `key` does not wait any more.
    pub fn withdraw(&mut self, key: &K) {
        if let Some(Waiter { since, number, .. }) = self.waiting.remove(key) {
            let entry = (since, number, key.clone());
            self.line.remove(&entry);
            self.placeless.remove(&entry);
        }
    }

    /// Returns true if any key waits for a place.
    pub fn is_blocking(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Returns true if more keys wait than places are on their way to them: then an idle connection
    /// is to be closed.
    pub fn is_short(&self) -> bool {
        self.waiting.len() > self.yielding
    }

    /// The connections of one origin that are being closed were `from` and are `to`; of each pair the
    /// second number is of those that [give way](Self::gives_way) when their last lease ends.
    pub const fn yields(&mut self, from: (usize, usize), to: (usize, usize)) {
        // Added before it is taken off: the difference alone may be negative.
        self.yielding = (self.yielding + to.0).saturating_sub(from.0);
        self.draining = (self.draining + to.1).saturating_sub(from.1);
    }

    /// Returns true if `key`, whose own oldest request waits since `head`, should close the
    /// connection that it is about to hand over at `now`.
    ///
    /// Yes for a key that holds nothing and has waited longer. Order decides for one that holds
    /// places too, but only once it has waited twice as long, or a second longer: two busy origins would
    /// otherwise take a connection from each other with every request, at a dial each.
    pub fn gives_way(&self, key: &K, head: Option<Instant>, now: Instant) -> bool {
        // The first of the line get what is on its way already: the one beyond them is who needs
        // this.
        let on_the_way = self.yielding + self.draining;
        let next = |line: &BTreeSet<(Instant, u64, K)>| {
            let mut others = line.iter().filter(|(.., waiting)| waiting != key);
            others.nth(on_the_way).map(|(since, ..)| *since)
        };
        let Some(head) = head else {
            // No request of its own waits for the connection.
            return next(&self.line).is_some();
        };
        let own_wait = now.saturating_duration_since(head);
        let starves = next(&self.placeless).is_some_and(|since| since < head);
        starves
            || next(&self.line).is_some_and(|since| {
                let wait = now.saturating_duration_since(since);
                since < head && wait >= own_wait + own_wait.min(MARGIN)
            })
    }

    /// The number of places taken.
    pub const fn held(&self) -> usize {
        self.held
    }

    /// The number of places there are.
    pub const fn max(&self) -> NonZeroUsize {
        self.max
    }

    /// The number of keys that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}
