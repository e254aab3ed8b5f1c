//! Budgets: what the pool may do of its own accord.

use std::num::NonZeroUsize;
use std::time::Duration;

use tokio::time::Instant;

/// Thousandths of what is budgeted.
const ONE: u64 = 1_000;

/// A token bucket, filled as time passes.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// In thousandths; below zero after more was taken than there was.
    tokens: i64,
    filled: Option<Instant>,
}

impl Bucket {
    const fn new() -> Self {
        Self {
            tokens: 0,
            filled: None,
        }
    }

    /// Adds `per_second` for the time since the last call, up to `most`. The first call fills it.
    fn fill(&mut self, now: Instant, per_second: u64, most: u64) {
        let most = i64::try_from(most.saturating_mul(ONE)).unwrap_or(i64::MAX);
        let Some(filled) = self.filled else {
            self.tokens = most;
            self.filled = Some(now);
            return;
        };
        let millis = now.saturating_duration_since(filled).as_millis();
        // Whole milliseconds alone are credited, and a shorter time is left to the next call: calls
        // in quick succession would never fill it.
        if millis > 0 {
            self.filled = Some(now);
            let more = u64::try_from(millis).unwrap_or(u64::MAX);
            self.add(more.saturating_mul(per_second), most);
        }
    }

    /// Returns the time at which what was taken beyond what there was is made up for.
    fn paid_at(&self, now: Instant, per_second: u64) -> Option<Instant> {
        let missing = u64::try_from(-self.tokens)
            .ok()
            .filter(|missing| *missing > 0)?;
        now.checked_add(Duration::from_millis(missing.div_ceil(per_second)))
    }

    fn add(&mut self, more: u64, most: i64) {
        let more = i64::try_from(more).unwrap_or(i64::MAX);
        self.tokens = self.tokens.saturating_add(more).min(most);
    }
}

/// Connections that cancelled exchanges have cost: as many at once as may be open, and as many a
/// second. More are not replaced before that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Churn(Bucket);

impl Churn {
    pub(crate) const fn new() -> Self {
        Self(Bucket::new())
    }

    fn fill(&mut self, now: Instant, cap: NonZeroUsize) -> u64 {
        // One a second would leave a pool of one without a connection for a second.
        let most = cap.get().max(4) as u64;
        self.0.fill(now, most, most);
        most
    }

    /// A cancelled exchange has cost a connection; when it may be replaced, if not now.
    pub(crate) fn spend(&mut self, now: Instant, cap: NonZeroUsize) -> Option<Instant> {
        let most = self.fill(now, cap);
        // Below zero too: the connection is gone, whether the budget has it or not, and is made up
        // for later.
        self.0.tokens = self.0.tokens.saturating_sub(1_000);
        self.0.paid_at(now, most)
    }

    /// Returns the time at which such connections may be replaced again, if not now.
    pub(crate) fn next(&self, now: Instant, cap: NonZeroUsize) -> Option<Instant> {
        let mut then = *self;
        let most = then.fill(now, cap);
        then.0.paid_at(now, most)
    }

    /// Returns true if a connection may be opened in the place of one that a cancelled exchange has
    /// cost.
    pub(crate) fn allows(&self, now: Instant, cap: NonZeroUsize) -> bool {
        let mut then = *self;
        // On a copy: a question moves no clock.
        then.fill(now, cap);
        then.0.tokens >= 0
    }

    /// Returns true if more than half of it is spent: connections are worth keeping.
    pub(crate) fn is_low(&self, now: Instant, cap: NonZeroUsize) -> bool {
        let mut then = *self;
        let most = then.fill(now, cap);
        then.0.tokens < i64::try_from(most.saturating_mul(ONE) / 2).unwrap_or(i64::MAX)
    }
}

/// What the pool retries by itself: a fifth of the requests, and ten a second in any case (linkerd's
/// retry budget).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retries {
    bucket: Bucket,
    /// The demands counted so far.
    demands: u64,
}

/// A fifth, in thousandths.
const RETRY_SHARE: u64 = 200;
const RETRIES_A_SECOND: u64 = 10;
/// A burst of a hundred retries is allowed at any rate.
const RETRIES_SAVED: u64 = 100;

impl Retries {
    pub(crate) const fn new() -> Self {
        Self {
            bucket: Bucket::new(),
            demands: 0,
        }
    }

    /// Takes one retry from the budget; `false` if it is spent.
    pub(crate) fn take(&mut self, now: Instant, demands: u64) -> bool {
        self.bucket.fill(now, RETRIES_A_SECOND, RETRIES_SAVED);
        // By the difference since the last retry: the hit path counts nothing for it.
        let new = demands.saturating_sub(self.demands);
        self.demands = demands;
        let most = i64::try_from(RETRIES_SAVED * ONE).unwrap_or(i64::MAX);
        self.bucket.add(new.saturating_mul(RETRY_SHARE), most);
        let may = self.bucket.tokens >= 1_000;
        // Never below zero, unlike churn: a retry that is refused does not happen.
        self.bucket.tokens -= if may { 1_000 } else { 0 };
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn churn_is_a_burst_and_then_a_rate() {
        let (start, max) = (Instant::now(), NonZeroUsize::new(8).expect("not zero"));
        let mut churn = Churn::new();
        let spent: Vec<_> = (0..10).map(|_| churn.spend(start, max)).collect();
        assert!(spent[..7].iter().all(Option::is_none), "{spent:?}");
        assert!(churn.is_low(start, max) && !churn.allows(start, max));
        let at = spent[9].expect("two more than there were");
        assert_eq!(at, start + Duration::from_millis(250));
        assert!(!churn.allows(at - Duration::from_millis(2), max));
        assert!(churn.allows(at, max));
        assert!(!churn.is_low(start + Duration::from_secs(1), max));
    }

    #[test]
    fn retries_are_a_share_of_the_traffic() {
        let (start, mut retries) = (Instant::now(), Retries::new());
        let burst = (0..1_000).filter(|_| retries.take(start, 0)).count();
        assert_eq!(burst, 100);
        let share = (0..1_000).filter(|_| retries.take(start, 50)).count();
        assert_eq!(share, 10, "a fifth of fifty");
        let second = start + Duration::from_secs(1);
        let later = (0..1_000).filter(|_| retries.take(second, 50)).count();
        assert_eq!(later, 10, "a second later");
    }
}
