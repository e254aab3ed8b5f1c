//! The load on an origin: what [`advise`](crate::advice::advise) goes by, and since when.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::lock::lock;

use crate::advice::Totals;
use crate::counters::nanos;

/// The time that advice looks back on: long enough for a thousand requests at a few a second, short
/// enough to follow the day.
pub(crate) const LOOKS_BACK: Duration = Duration::from_secs(300);

/// The least time between two remembered totals.
const STEP: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Load {
    roomy: AtomicU64,
    met: AtomicU64,
    met_squared: AtomicU64,
    /// With more than this many in flight, an exchange ends in busy times. Nothing does until
    /// somebody has looked.
    busy_above: AtomicU64,
    busy: AtomicU64,
    busy_nanos: AtomicU64,
    /// The time that exchanges lasted beyond [`LOOKS_BACK`]: a stream of an hour was one request in
    /// flight in the last minutes, and not twelve.
    excess_nanos: AtomicU64,
    /// Guards the list alone.
    history: Mutex<History>,
}

impl Default for Load {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            roomy: zero(),
            met: zero(),
            met_squared: zero(),
            busy_above: AtomicU64::new(u64::MAX),
            busy: zero(),
            busy_nanos: zero(),
            excess_nanos: zero(),
            history: Mutex::default(),
        }
    }
}

impl Load {
    /// A request came, found room, and `others` in service.
    #[inline]
    pub(crate) fn found_room(&self, others: u64) {
        self.roomy.fetch_add(1, Relaxed);
        self.met.fetch_add(others, Relaxed);
        self.met_squared.fetch_add(others * others, Relaxed);
    }

    /// An exchange ended, one of so many in flight.
    #[inline]
    pub(crate) fn ended(&self, in_flight: u64, held: Duration) {
        if in_flight > self.busy_above.load(Relaxed) {
            self.busy.fetch_add(1, Relaxed);
            self.busy_nanos
                .fetch_add(nanos(held.min(LOOKS_BACK)), Relaxed);
        }
        let excess = held.saturating_sub(LOOKS_BACK);
        if !excess.is_zero() {
            self.excess_nanos.fetch_add(nanos(excess), Relaxed);
        }
    }

    /// Times are busy from now on with more than half of so many requests in flight.
    pub(crate) fn set_room(&self, requests: Option<u64>) {
        let above = requests.map_or(u64::MAX, |requests| requests / 2);
        self.busy_above.store(above, Relaxed);
    }

    /// Completes `totals`, of which the counters know the rest, and returns what came of them in how
    /// long a while. `None` at first, since nothing was before.
    pub(crate) fn lately(&self, now: Instant, totals: Totals) -> Option<(Duration, Totals)> {
        let excess = self.excess_nanos.load(Relaxed);
        let totals = Totals {
            roomy: self.roomy.load(Relaxed),
            met: self.met.load(Relaxed),
            met_squared: self.met_squared.load(Relaxed),
            use_nanos: totals.use_nanos.wrapping_sub(excess),
            busy: self.busy.load(Relaxed),
            busy_nanos: self.busy_nanos.load(Relaxed),
            ..totals
        };
        let mut history = lock(&self.history);
        history.remember(now, totals)
    }
}

#[derive(Debug, Default)]
struct History(VecDeque<(Instant, Totals)>);

impl History {
    fn remember(&mut self, now: Instant, totals: Totals) -> Option<(Duration, Totals)> {
        let old = |at: Instant| now.saturating_duration_since(at) >= LOOKS_BACK;
        // The last one that is too old stays: what came since covers the whole of the time.
        while self.0.get(1).is_some_and(|(at, _)| old(*at)) {
            self.0.pop_front();
        }
        let far = |at: Instant| now.saturating_duration_since(at) >= STEP;
        if self.0.back().is_none_or(|(at, _)| far(*at)) {
            self.0.push_back((now, totals));
        }
        let (since, before) = self.0.front()?;
        let span = now.saturating_duration_since(*since);
        (span >= STEP).then(|| (span, totals.since(before)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(arrivals: u64) -> Totals {
        Totals {
            arrivals,
            ..Totals::default()
        }
    }

    #[test]
    fn load_history_covers_the_last_five_minutes() {
        let (start, mut history) = (Instant::now(), History::default());
        for second in 0..3_600 {
            let lately = history.remember(start + Duration::from_secs(second), at(7 * second));
            let (span, came) = lately.unwrap_or_default();
            assert_eq!(lately.is_some(), second >= 10);
            assert_eq!(came.arrivals, 7 * span.as_secs());
            let covered = if second < 10 {
                0
            } else {
                second.min(300 + second % 10)
            };
            assert_eq!(span.as_secs(), covered);
            assert!(history.0.len() <= 32, "{}", history.0.len());
        }
    }

    #[test]
    fn one_who_asks_seldom_gets_what_came_since() {
        let (start, mut history) = (Instant::now(), History::default());
        for hour in 0..5 {
            let lately = history.remember(start + Duration::from_secs(3_600 * hour), at(hour));
            let came = lately.map(|(span, came)| (span.as_secs(), came.arrivals));
            assert_eq!(came, (hour > 0).then_some((3_600, 1)));
        }
    }
}
