//! How many streams this side has reset, against what servers put up with.

use std::time::Duration;

use tokio::time::Instant;

/// Servers that are patched against rapid resets (CVE-2023-44487) end a connection after a burst of
/// about a thousand: nghttp2 1.57 allows 1,000 and 33 more each second. As many streams as are open
/// may be reset once the connection takes no more.
const BURST: u32 = 200;
/// What a server was sent of a body that it did not read counts as one reset for each 16 KiB: nginx ends a
/// connection once 8 MiB more came than it read (`http2 flood detected`), which are 512.
const BYTES: u32 = 16 * 1024;
/// More of one body than the first window of its stream was read: the server has made room for it.
const BYTES_MAX: u32 = 64 * 1024;
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

    /// This side resets one more stream, on which it has sent so many bytes of a body.
    pub(super) fn count(&mut self, now: Instant, sent: u32) {
        self.add(now, 1 + unread(sent));
    }

    /// The peer resets a stream, on which this side has sent so many bytes of a body.
    pub(super) fn refused(&mut self, now: Instant, sent: u32) {
        self.add(now, unread(sent));
    }

    fn add(&mut self, now: Instant, weight: u32) {
        let elapsed = now.saturating_duration_since(self.at);
        let forgotten = elapsed.as_millis() / FORGET.as_millis();
        let forgotten = u32::try_from(forgotten).unwrap_or(u32::MAX);
        // By whole steps: what is left of the time counts for the next reset.
        self.at += FORGET.saturating_mul(forgotten);
        self.level = self.level.saturating_sub(forgotten).saturating_add(weight);
    }

    /// Returns true if the peer may end the connection over a few more.
    pub(super) const fn are_spent(&self) -> bool {
        self.level >= BURST
    }
}

/// What the peer may not have read of a body, in resets.
fn unread(sent: u32) -> u32 {
    sent.min(BYTES_MAX) / BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_burst_spends_the_allowed_resets() {
        let now = Instant::now();
        let mut resets = Resets::new(now);
        for _ in 1..BURST {
            resets.count(now, 0);
        }
        assert!(!resets.are_spent());
        resets.count(now, 0);
        assert!(resets.are_spent());

        let mut resets = Resets::new(now);
        for n in 0..10 * BURST {
            resets.count(now + n * FORGET, BYTES - 1);
            assert!(!resets.are_spent());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn uploads_that_are_given_up_spend_more() {
        let now = Instant::now();
        for sent in [64 * 1024, u32::MAX] {
            let mut resets = Resets::new(now);
            for _ in 1..BURST / 5 {
                resets.count(now, sent);
            }
            assert!(!resets.are_spent(), "{sent}");
            resets.refused(now, sent);
            assert!(!resets.are_spent(), "one by the peer counts less");
            resets.refused(now, BYTES);
            assert!(resets.are_spent(), "{sent}");
        }
    }
}
