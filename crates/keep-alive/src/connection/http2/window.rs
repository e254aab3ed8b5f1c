//! The flow-control window of a whole connection, as the peer sees it.

use std::time::Duration;

use tokio::time::Instant;

/// The window before anything is said of it (RFC 9113 section 6.9.2).
const FIRST: i64 = 65_535;
/// One that has been used up for so long is held by bodies that are not read.
const DRY_FOR: Duration = Duration::from_millis(100);

/// What the peer may send on all streams together before this side says more.
#[derive(Debug)]
pub(super) struct Window {
    left: i64,
    dry_since: Option<Instant>,
}

impl Window {
    pub(super) const fn new() -> Self {
        Self {
            left: FIRST,
            dry_since: None,
        }
    }

    pub(super) fn received(&mut self, bytes: u32, now: Instant) {
        self.left -= i64::from(bytes);
        if self.left <= 0 {
            // Since the first: frames without a byte may follow, and do not begin it anew.
            self.dry_since.get_or_insert(now);
        }
    }

    pub(super) fn widened(&mut self, bytes: u32) {
        self.left += i64::from(bytes);
        if self.left > 0 {
            self.dry_since = None;
        }
    }

    /// Returns true if no stream can receive, and that has lasted.
    pub(super) fn is_dry(&self, now: Instant) -> bool {
        self.dry_since.is_some_and(|since| since + DRY_FOR <= now)
    }

    /// Returns the time at which it counts as dry, if it is used up.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let due = self.dry_since? + DRY_FOR;
        (due > now).then_some(due)
    }
}
