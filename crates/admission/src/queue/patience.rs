//! The patience of callers that set no limit, learnt from those that left.

use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::QueueOrder;

use crate::queue::uses::micros;

/// Ages at which callers left: enough to tell several kinds of callers apart, and read in a few
/// hundred nanoseconds.
const AGES: usize = 64;
/// This much evidence turns the order: three callers that left the queue, or one that was granted a
/// lease after more waiting than it then had time for.
const EVIDENCE: usize = 3;
/// Within this time, or twice a typical use if that is longer.
const WINDOW: Duration = Duration::from_millis(500);
/// The order turns back after this long without a caller leaving, or twice the longest patience seen.
const CALM: Duration = Duration::from_secs(1);
/// One in so many may be lost to a risk that is taken.
const RISK: usize = 8;

/// Fifo → Newest (enough callers left in a short time, and the length of a use is known);
/// Newest → Fifo (none left for a while).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// In microseconds.
    ages: [u32; AGES],
    len: usize,
    next: usize,
    /// The time at which the last pieces of evidence came, the newest first.
    evidence: [Option<Instant>; EVIDENCE],
    order: QueueOrder,
    /// Times the order turned to newest first.
    turns: u64,
}

impl Patience {
    pub(crate) const fn new() -> Self {
        Self {
            ages: [0; AGES],
            len: 0,
            next: 0,
            evidence: [None; EVIDENCE],
            order: QueueOrder::Fifo,
            turns: 0,
        }
    }

    pub(crate) const fn order(&self) -> QueueOrder {
        self.order
    }

    pub(crate) const fn turns(&self) -> u64 {
        self.turns
    }

    /// A caller left the queue at this age.
    pub(crate) fn left_queue(&mut self, now: Instant, age: Duration, use_: Option<Duration>) {
        self.left(now, age, 1, use_);
    }

    /// A caller left `held` after it had been granted a lease for which it `waited`.
    ///
    /// One that waited for less than a fifth of its time left because of the answer, not the wait.
    pub(crate) fn left_in_flight(
        &mut self,
        now: Instant,
        waited: Duration,
        held: Duration,
        use_: Option<Duration>,
    ) {
        if !waited.is_zero() && waited.saturating_mul(4) >= held {
            let weight = if waited >= held { EVIDENCE } else { 1 };
            self.left(now, waited.saturating_add(held), weight, use_);
        }
    }

    fn left(&mut self, now: Instant, age: Duration, weight: usize, use_: Option<Duration>) {
        // First: what came before a calm time is no evidence of pressure now.
        self.calm_down(now);
        self.ages[self.next] = micros(age);
        self.next = (self.next + 1) % AGES;
        self.len = (self.len + 1).min(AGES);
        // As much as turns the order by itself replaces all of it, and rotates nothing.
        self.evidence.rotate_right(weight % EVIDENCE);
        self.evidence[..weight].fill(Some(now));
        // Without a typical use it is not known which grant comes too late, so the order stays.
        let window = use_.map(|use_| WINDOW.max(use_.saturating_mul(2)));
        let first = self.evidence[EVIDENCE - 1];
        if self.order == QueueOrder::Fifo
            && let (Some(window), Some(first)) = (window, first)
            && now.saturating_duration_since(first) <= window
        {
            self.order = QueueOrder::Newest;
            self.turns += 1;
        }
    }

    /// Returns the time at which what was learnt is forgotten if no caller is cancelled before.
    pub(crate) fn calm_at(&self) -> Option<Instant> {
        let longest = self.ages[..self.len].iter().max().copied()?;
        let longest = Duration::from_micros(u64::from(longest));
        // From the newest on: each caller that goes away puts the calm off.
        self.evidence[0]?.checked_add(CALM.max(longest.saturating_mul(2)))
    }

    pub(crate) fn calm_down(&mut self, now: Instant) {
        if self.calm_at().is_some_and(|at| at <= now) {
            // A counter that is exported: it never goes back.
            let turns = self.turns;
            *self = Self {
                turns,
                ..Self::new()
            };
        }
    }

    /// Returns true if callers of this age leave before an exchange of this length ends: by those
    /// seen that were at least as patient, more than one in eight.
    ///
    /// At an age that no leaver reached, callers are patient.
    pub(crate) fn leaves_within(&self, age: Duration, use_: Duration) -> bool {
        // An age that was seen may be met again a little earlier.
        let from = micros(age.saturating_sub(age / 64));
        let to = micros(age.saturating_add(use_));
        let later = self.ages[..self.len].iter().filter(|&&left| left > from);
        let (mut beyond, mut within) = (0, 0);
        for &left in later {
            beyond += 1;
            within += usize::from(left <= to);
        }
        within * RISK > beyond
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);
    const USE: Option<Duration> = Some(MILLI);

    #[test]
    fn three_cancellations_within_500_ms_turn_the_order() {
        let (start, mut patience) = (Instant::now(), Patience::new());
        for at in [0, 400, 800] {
            patience.left_queue(start + MILLI * at, MILLI * 100, USE);
        }
        assert_eq!(patience.order(), QueueOrder::Fifo);
        patience.left_queue(start + MILLI * 900, MILLI * 100, USE);
        assert_eq!(
            (patience.order(), patience.turns()),
            (QueueOrder::Newest, 1)
        );
    }

    #[test]
    fn one_late_grant_turns_the_order_to_newest() {
        let (now, mut patience) = (Instant::now(), Patience::new());
        patience.left_in_flight(now, Duration::ZERO, MILLI, USE);
        patience.left_in_flight(now, MILLI, MILLI * 5, USE);
        assert_eq!(patience.len, 0, "the answer was slow, not the queue");
        patience.left_in_flight(now, MILLI * 5, MILLI * 4, None);
        assert_eq!(patience.order(), QueueOrder::Fifo, "no use is known");
        patience.left_in_flight(now, MILLI * 5, MILLI * 4, USE);
        assert_eq!(patience.order(), QueueOrder::Newest);
    }

    #[test]
    fn what_was_learnt_decays_once_no_caller_leaves() {
        let (now, mut patience) = (Instant::now(), Patience::new());
        patience.left_in_flight(now, MILLI * 900, MILLI, USE);
        patience.calm_down(now + MILLI * 1_801);
        assert_eq!(patience.order(), QueueOrder::Newest);
        patience.calm_down(now + MILLI * 1_802);
        assert_eq!((patience.order(), patience.len), (QueueOrder::Fifo, 0));
        assert_eq!(patience.turns(), 1, "a counter stays");
    }

    #[test]
    fn an_age_beyond_all_leavers_is_patient() {
        let (now, mut patience) = (Instant::now(), Patience::new());
        for age in [200, 200, 200, 1_000] {
            patience.left_queue(now, MILLI * age, USE);
        }
        let risky = |age| patience.leaves_within(MILLI * age, MILLI * 50);
        assert!(!risky(100) && risky(160) && risky(199));
        assert!(!risky(300), "only the one of a second is left");
        assert!(risky(980) && !risky(1_100));
    }
}
