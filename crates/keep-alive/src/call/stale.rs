//! Lost on a stale connection: the losses of one call that say nothing about the next connection.

use tokio::time::Instant;

use crate::pool::lease::Lease;

/// Most such losses of one call. An event that closes connections closes all that idled longer at the
/// first loss; those that are left were in use meanwhile.
const MOST: u32 = 16;

/// The losses of stale connections by one call: one that had served before, or had been open for a
/// while, and was opened before the last loss that counts. What closes one, a restart or an idle timeout
/// of the peer's, closes all of them, and is no evidence about a connection that is dialled afterwards.
/// So such a loss costs none of the call's retries, nor does that of a connection whose runtime ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StaleLosses {
    last: Option<Instant>,
    count: u32,
}

impl StaleLosses {
    /// Counts the loss of this lease's connection, if it is such a one.
    pub(crate) fn is_one(&mut self, lease: &Lease) -> bool {
        let stale = lease.may_be_stale().then_some(lease.conn().opened_at);
        self.lose(stale, lease.lost_its_runtime(), Instant::now())
    }

    /// A loss that is none is an event of its own: what was open before it is stale to the next.
    fn lose(&mut self, stale: Option<Instant>, lost_its_runtime: bool, now: Instant) -> bool {
        // The first loss is its own measure: whatever was open by now is stale.
        let last = *self.last.get_or_insert(now);
        let is_stale = stale.is_some_and(|opened_at| opened_at < last);
        let is_one = (is_stale || lost_its_runtime) && self.count < MOST;
        if is_one {
            self.count += 1;
        } else {
            self.last = Some(now);
        }
        is_one
    }

    /// Returns their number.
    pub(crate) const fn count(&self) -> u32 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Connections that were opened after the first of two restarts all counted at the second.
    #[tokio::test(start_paused = true)]
    async fn each_restart_costs_at_most_one_retry() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut losses = StaleLosses::default();
        assert!(losses.lose(Some(start), false, at(10)), "the first restart");
        assert!(losses.lose(Some(start), false, at(10)));
        let between = Some(at(11));
        assert!(!losses.lose(between, false, at(20)), "the second one");
        for _ in 0..5 {
            assert!(losses.lose(between, false, at(20)));
        }
        assert!(!losses.lose(Some(at(21)), false, at(30)), "a third");
        assert_eq!(losses.count(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn fresh_losses_and_too_many_stale_ones_count() {
        let start = Instant::now();
        let now = start + Duration::from_secs(1);
        let mut losses = StaleLosses::default();
        assert!(!losses.lose(None, false, now));
        for _ in 0..MOST {
            assert!(losses.lose(Some(start), false, now));
        }
        assert!(!losses.lose(Some(start), false, now));
    }
}
