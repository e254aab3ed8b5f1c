//! The time that exchanges take, from lease to end.

use std::time::Duration;

use tokio::time::Instant;

/// The samples that are kept: nine of a new kind change the median of sixteen, so the estimate
/// follows a peer that becomes faster or slower within a few exchanges.
const SAMPLES: usize = 16;
/// The time that the last sample counts for. Estimates that keep requests from being granted must
/// not outlive the traffic that could correct them.
const COUNTS_FOR: Duration = Duration::from_secs(5);

/// The last exchanges that came to their end. Cancelled ones are not among them: their time is the
/// caller's patience.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uses {
    /// In microseconds.
    recent: [u32; SAMPLES],
    len: usize,
    next: usize,
    last: Option<Instant>,
}

impl Uses {
    pub(crate) const fn new() -> Self {
        Self {
            recent: [0; SAMPLES],
            len: 0,
            next: 0,
            last: None,
        }
    }

    #[inline]
    pub(crate) fn learn(&mut self, now: Instant, held: Duration) {
        self.recent[self.next] = micros(held);
        self.next = (self.next + 1) % SAMPLES;
        self.len = (self.len + 1).min(SAMPLES);
        self.last = Some(now);
    }

    /// The time within which three in four exchanges end; `None` if none has ended lately.
    pub(crate) fn typical(&self, now: Instant) -> Option<Duration> {
        self.quantile(now, 4)
    }

    /// The time within which nine in ten exchanges end.
    pub(crate) fn long(&self, now: Instant) -> Option<Duration> {
        self.quantile(now, 10)
    }

    /// The time that one in `n` exceeds.
    fn quantile(&self, now: Instant, n: usize) -> Option<Duration> {
        let last = self.last?;
        // Sorted when it is asked for, in a copy: `learn` is on the way of every exchange, this
        // only on that of those that wait.
        let mut sorted = self.recent;
        let sorted = &mut sorted[..self.len];
        sorted.sort_unstable();
        let above = self.len / n;
        let at = Duration::from_micros(u64::from(*sorted.get(self.len - 1 - above)?));
        let counts_for = COUNTS_FOR.max(at.saturating_mul(2));
        (now.saturating_duration_since(last) <= counts_for).then_some(at)
    }
}

/// In microseconds; more than an hour counts as an hour and eleven minutes.
pub(super) fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn a_typical_use_is_the_third_quartile() {
        let (now, mut uses) = (Instant::now(), Uses::new());
        assert_eq!(uses.typical(now), None);
        for held in 1..=16 {
            uses.learn(now, MILLI * held);
        }
        assert_eq!(uses.typical(now), Some(MILLI * 12));
        assert_eq!(uses.long(now), Some(MILLI * 15));
    }

    #[test]
    fn thirteen_faster_exchanges_change_the_typical_use() {
        let (now, mut uses) = (Instant::now(), Uses::new());
        for _ in 0..16 {
            uses.learn(now, MILLI * 500);
        }
        for _ in 0..12 {
            uses.learn(now, MILLI);
        }
        assert_eq!(uses.typical(now), Some(MILLI));
        assert_eq!(uses.long(now), Some(MILLI * 500));
    }

    #[test]
    fn an_estimate_expires_with_its_traffic() {
        let (now, mut uses) = (Instant::now(), Uses::new());
        uses.learn(now, MILLI);
        assert!(uses.typical(now + COUNTS_FOR).is_some());
        assert_eq!(uses.typical(now + COUNTS_FOR + MILLI), None);
        uses.learn(now, COUNTS_FOR);
        assert!(uses.long(now + COUNTS_FOR * 2).is_some(), "slow exchanges");
    }
}
