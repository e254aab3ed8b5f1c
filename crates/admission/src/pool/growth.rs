//! What keeps a pool that serves from growing (A14).

use std::time::Duration;

use tokio::time::Instant;

/// The number of times that a ceiling that the peer has is tried, first and at most.
const PROBE_FIRST: Duration = Duration::from_secs(1);
const PROBE_MAX: Duration = Duration::from_secs(30);
/// The time that opening pauses when a port or a descriptor is missing, first and at most: others
/// give theirs back all the time.
const LOCAL_FIRST: Duration = Duration::from_millis(50);
const LOCAL_MAX: Duration = Duration::from_secs(1);
/// A connection that ends this early without a whole exchange was not meant to be.
const STILLBORN: Duration = Duration::from_secs(1);

/// Free → Held (so many opens in a row failed beside what serves) → Free (a new connection served);
/// while Held one open is tried when the pause is over.
#[derive(Debug)]
pub(crate) struct Growth<E> {
    /// Opens that failed, or led to a connection that ended at once, since one has served.
    rejected: u32,
    /// The connections that served when the last of them failed.
    ceiling: Option<usize>,
    held_until: Option<Instant>,
    pause: Duration,
    blocked_until: Option<Instant>,
    block: Duration,
    /// The local cause of the last failed open, if none has succeeded since.
    blocked_by: Option<E>,
}

impl<E: Clone> Growth<E> {
    pub(crate) const fn new() -> Self {
        Self {
            rejected: 0,
            ceiling: None,
            held_until: None,
            pause: PROBE_FIRST,
            blocked_until: None,
            block: LOCAL_FIRST,
            blocked_by: None,
        }
    }

    pub(crate) const fn ceiling(&self) -> Option<usize> {
        self.ceiling
    }

    pub(crate) fn blocked_by(&self) -> Option<E> {
        self.blocked_by.clone()
    }

    /// Returns true if one more may be opened beside `live` connections and `opening` opens, where a
    /// back-off begins `after` so many failures.
    pub(crate) fn allows(&self, now: Instant, after: u32, live: usize, opening: usize) -> bool {
        // Also with nothing open: without a port or a descriptor no open succeeds, whatever it is
        // for.
        if self.blocked_until.is_some_and(|until| until > now) {
            return false;
        }
        // With nothing open as many tries as make a back-off are enough: a host that is down would be
        // dialled once more for each that fails, a connect timeout long. And no fewer go side by side, or
        // they would pass one after the other.
        let tried = usize::try_from(self.rejected).unwrap_or(usize::MAX);
        let enough = usize::try_from(after).unwrap_or(usize::MAX);
        if tried > 0 && live == 0 && opening > 0 && tried.saturating_add(opening) >= enough {
            return false;
        }
        let Some(until) = self.held_until else {
            return true;
        };
        let below = self.ceiling.is_some_and(|most| live + opening < most);
        let alone = live == 0 && opening == 0;
        alone || below || (opening == 0 && until <= now)
    }

    /// Returns the time at which a pause ends.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        let pauses = [self.held_until, self.blocked_until].into_iter().flatten();
        pauses.filter(|at| *at > now).min()
    }

    /// An open failed, or a connection ended before it served, with `live` others and `opening` more
    /// on their way.
    pub(crate) fn rejected(&mut self, now: Instant, after: u32, live: usize, opening: usize) {
        self.rejected = self.rejected.saturating_add(1);
        // With nothing beside it the back-off rules, and there is no number that the peer has been
        // seen to bear.
        if self.rejected < after || live + opening == 0 {
            return;
        }
        // What serves is what the peer bears; beyond it one at a time is tried.
        if live > 0 {
            // A failure only lowers it: what lifts it is a connection beyond it that serves.
            self.ceiling = Some(self.ceiling.map_or(live, |most| most.min(live)));
        }
        if self.held_until.is_none() {
            // A pause that runs is not made longer by the opens that fail in it.
            self.hold(now);
        }
    }

    /// An open has started: beyond the ceiling it is a probe, and the next one comes later still.
    pub(crate) fn started(&mut self, now: Instant) {
        // In the pause an open goes below the ceiling, or with nothing else: it is no probe, and
        // costs none.
        if self.held_until.is_some_and(|until| until <= now) {
            self.hold(now);
        }
    }

    fn hold(&mut self, now: Instant) {
        self.held_until = now.checked_add(self.pause);
        self.pause = self.pause.saturating_mul(2).min(PROBE_MAX);
    }

    /// A connection that ended at this age, without a whole exchange, counts as rejected.
    pub(crate) fn is_stillborn(age: Duration) -> bool {
        age < STILLBORN
    }

    /// No port or descriptor was left for an open.
    pub(crate) fn blocked(&mut self, now: Instant, error: E) -> Option<E> {
        // Opens that fail together have one cause, and lengthen the pause once.
        if self.blocked_until.is_none_or(|until| until <= now) {
            self.blocked_until = now.checked_add(self.block);
            self.block = self.block.saturating_mul(2).min(LOCAL_MAX);
        }
        self.blocked_by.replace(error)
    }

    /// An open succeeded, so ports and descriptors are there.
    pub(crate) fn unblocked(&mut self) -> Option<E> {
        self.blocked_until = None;
        self.block = LOCAL_FIRST;
        self.blocked_by.take()
    }

    /// A connection has served for the first time, the last of `live`.
    pub(crate) fn served(&mut self, live: usize) {
        // Only a connection beyond the ceiling disproves it.
        if self.ceiling.is_none_or(|most| live > most) {
            self.rejected = 0;
            self.ceiling = None;
            self.held_until = None;
            self.pause = PROBE_FIRST;
        }
    }
}
