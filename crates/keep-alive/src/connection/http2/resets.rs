//! How many streams this side has reset, against what servers put up with.

use std::time::Duration;

use tokio::time::Instant;

/// Servers that are patched against rapid resets (CVE-2023-44487) end a connection after a burst of
/// about a thousand: nghttp2 1.57 allows 1,000 and 33 more each second. As many streams as are open
/// may be reset once the connection takes no more.
const BURST: u32 = 200;
/// The time after which one reset is forgotten.
const FORGET: Duration = Duration::from_millis(100);

/// A leaky bucket of resets.
#[derive(Debug)]
pub(super) struct Resets {
    level: u32,
    at: Instant,
}

impl Resets {
    pub(super) const fn new(now: Instant) -> Self {
        Self { level: 0, at: now }
    }

    /// One more stream is reset.
    pub(super) fn count(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.at);
        let forgotten = elapsed.as_millis() / FORGET.as_millis();
        let forgotten = u32::try_from(forgotten).unwrap_or(u32::MAX);
        // By whole steps: what is left of the time counts for the next reset.
        self.at += FORGET.saturating_mul(forgotten);
        self.level = self.level.saturating_sub(forgotten) + 1;
    }

    /// Returns true if the peer may end the connection over a few more.
    pub(super) const fn are_spent(&self) -> bool {
        self.level >= BURST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_burst_spends_the_allowed_resets() {
        let now = Instant::now();
        let mut resets = Resets::new(now);
        for _ in 1..BURST {
            resets.count(now);
        }
        assert!(!resets.are_spent());
        resets.count(now);
        assert!(resets.are_spent());

        let mut resets = Resets::new(now);
        for n in 0..10 * BURST {
            resets.count(now + n * FORGET);
            assert!(!resets.are_spent());
        }
    }
}
