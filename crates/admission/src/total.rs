//! A limit over all origins.

use std::num::NonZeroUsize;

use tokio::time::Instant;

/// The answer to [`Total::acquire`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "callers must handle each answer")]
pub enum Place {
    /// The caller holds a place: it opens a connection, or gives the place back.
    Taken,
    /// None is free, and the key waits now. The caller closes the oldest idle connection of any
    /// origin, if there is one.
    Wait,
    /// None is free, and the key waited already: somebody has looked for an idle connection.
    StillWaiting,
}

/// Counts the connections of all origins against one limit (A8).
///
/// A place is held from before an open is started until it failed or the connection is gone. It is
/// touched only then, so one lock round it is not on the way of a request that is served by an
/// idle connection.
///
/// # Protocol
///
/// For an origin `o` whose pool wants to open (`wants_open`):
///
/// 1. [`acquire`](Self::acquire). If the place is taken, `start_open`; if that says no,
///    [`release`](Self::release). If it must wait, `reclaim_oldest_idle` on the pool whose
///    `oldest_idle` is the longest ago, and tell [`reclaimed`](Self::reclaimed).
/// 2. Whenever a place falls free (an open failed, a connection is gone, a place is not wanted):
///    [`release`](Self::release), and if it names a key, `start_open` there; if that says no,
///    release again, which passes the place on to the next.
/// 3. Whenever a lease goes back while anybody waits ([`is_blocking`](Self::is_blocking), to be
///    mirrored in an atomic): an origin with waiters of its own asks first
///    [`gives_way`](Self::gives_way), and returns the lease as `Retire(CloseReason::Reclaimed)` if
///    so. Otherwise an origin that has enough demand to keep its connections busy would never
///    give one to an origin that has none.
/// 4. After any call that may have left a connection idle or met demand (a return, a cancelled
///    ticket, an open) while anybody waits: [`withdraw`](Self::withdraw) an origin that does not
///    want to open any more, and if [`is_short`](Self::is_short) reclaim as in 1.
///
/// Raising the flag before looking for an idle connection, and looking at the flag after a
/// connection has become idle, is what makes sure that one of the two sees the other.
#[derive(Debug)]
pub struct Total<K> {
    max: NonZeroUsize,
    held: usize,
    waiting: Vec<Waiter<K>>,
    /// Connections that are being closed on behalf of those who wait.
    yielding: usize,
}

#[derive(Debug)]
struct Waiter<K> {
    key: K,
    since: Instant,
    holds_none: bool,
}

impl<K: Clone + Eq> Total<K> {
    /// A limit with nothing held.
    pub const fn new(max: NonZeroUsize) -> Self {
        Self {
            max,
            held: 0,
            waiting: Vec::new(),
            yielding: 0,
        }
    }

    /// Asks for a place for `key`, whose oldest waiter waits since `since`, and which holds no
    /// connection at all if `holds_none`. It waits at most once; asking again corrects both.
    pub fn acquire(&mut self, key: &K, since: Instant, holds_none: bool) -> Place {
        if let Some(waiter) = self.waiting.iter_mut().find(|waiter| waiter.key == *key) {
            waiter.since = since;
            waiter.holds_none = holds_none;
            return Place::StillWaiting;
        }
        if self.waiting.is_empty() && self.held < self.max.get() {
            self.held += 1;
            return Place::Taken;
        }
        self.waiting.push(Waiter {
            key: key.clone(),
            since,
            holds_none,
        });
        Place::Wait
    }

    /// Gives a place back. If anybody waits, the one who waits longest holds it now and is named:
    /// it opens a connection or gives the place back in its turn.
    #[must_use = "the origin named holds a place"]
    pub fn release(&mut self) -> Option<K> {
        debug_assert!(self.held > 0, "each place is given back once");
        self.held = self.held.saturating_sub(1);
        self.yielding = self.yielding.saturating_sub(1);
        self.take_free()
    }

    /// Takes a free place for the one who waits longest; to be repeated after
    /// [`resize`](Self::resize).
    #[must_use = "the origin named holds a place"]
    pub fn take_free(&mut self) -> Option<K> {
        if self.held >= self.max.get() {
            return None;
        }
        let oldest = (0..self.waiting.len()).min_by_key(|&at| self.waiting[at].since)?;
        self.held += 1;
        Some(self.waiting.remove(oldest).key)
    }

    /// `key` does not wait any more.
    pub fn withdraw(&mut self, key: &K) {
        self.waiting.retain(|waiter| waiter.key != *key);
    }

    /// Whether anybody waits for a place.
    pub const fn is_blocking(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether more wait than places are on their way to them: then an idle connection should be
    /// closed, and [`reclaimed`](Self::reclaimed) be told.
    pub const fn is_short(&self) -> bool {
        self.waiting.len() > self.yielding
    }

    /// An idle connection is being closed for those who wait; remembered until the next release.
    pub const fn reclaimed(&mut self) {
        self.yielding += 1;
    }

    /// Takes a [`reclaimed`](Self::reclaimed) back: there was nothing to close after all.
    ///
    /// Telling first and taking back is what an owner does whose places may fall free on another
    /// thread before it comes to tell. It looks for an idle connection again afterwards, since
    /// whoever returned a lease meanwhile was told that enough is on its way.
    pub const fn not_reclaimed(&mut self) {
        self.yielding = self.yielding.saturating_sub(1);
    }

    /// Since when the longest-waiting origin waits that holds nothing, and for which no connection
    /// is being closed yet.
    pub fn starving(&self) -> Option<Instant> {
        let mut since: Vec<_> = self.place_less().collect();
        since.sort_unstable();
        since.get(self.yielding).copied()
    }

    fn place_less(&self) -> impl Iterator<Item = Instant> {
        let place_less = self.waiting.iter().filter(|waiter| waiter.holds_none);
        place_less.map(|waiter| waiter.since)
    }

    /// Whether `key`, whose own oldest waiter waits since `head`, should close the connection that
    /// it is about to hand over: yes if an origin that holds nothing has waited longer, and nobody
    /// else is giving way to it. A yes is remembered until the next release.
    #[must_use = "a yes is a promise to close a connection"]
    pub fn gives_way(&mut self, key: &K, head: Option<Instant>) -> bool {
        let own = self.waiting.iter_mut().find(|waiter| waiter.key == *key);
        if let (Some(waiter), Some(head)) = (own, head) {
            // Its place in the order was that of a waiter who has been served meanwhile.
            waiter.since = head;
        }
        let yes = self
            .starving()
            .is_some_and(|starving| head.is_none_or(|head| starving < head));
        self.yielding += usize::from(yes);
        yes
    }

    /// Changes the limit. A lower one takes effect as places are given back.
    pub const fn resize(&mut self, max: NonZeroUsize) {
        self.max = max;
    }

    /// How many places are taken.
    pub const fn held(&self) -> usize {
        self.held
    }

    /// How many there are.
    pub const fn max(&self) -> NonZeroUsize {
        self.max
    }

    /// How many origins wait.
    pub const fn waiting(&self) -> usize {
        self.waiting.len()
    }
}
