//! TTLs: clamped to their bounds, and the instants that follow from them.

use std::time::Duration;

use tokio::time::Instant;

/// Clamps a TTL to its bounds. Where those are in the wrong order, at which `clamp` panics, the upper one
/// holds.
pub(crate) fn clamped(ttl: Duration, (min, max): (Duration, Duration)) -> Duration {
    ttl.max(min).min(max)
}

/// The instants at which an entry's worth changes, in order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) born: Instant,
    pub(crate) refresh_at: Instant,
    pub(crate) expires: Instant,
    pub(crate) revalidate_until: Instant,
    pub(crate) stale_until: Instant,
}

impl Times {
    /// `lifetime` fresh, of which the refresh starts at `refresh_at`; then, each from the end of
    /// the lifetime, stale while it is revalidated, and stale if there is no newer one.
    pub(crate) fn of(
        born: Instant,
        lifetime: Duration,
        refresh_at: Duration,
        (revalidate, max_stale): (Duration, Duration),
    ) -> Self {
        let stale = |span: Duration| later(born, lifetime.saturating_add(span));
        Self {
            born,
            refresh_at: later(born, refresh_at.min(lifetime)),
            expires: later(born, lifetime),
            revalidate_until: stale(revalidate.min(max_stale)),
            stale_until: stale(max_stale),
        }
    }

    /// Over from the start.
    pub(crate) fn never(now: Instant) -> Self {
        Self {
            born: now,
            refresh_at: now,
            expires: now,
            revalidate_until: now,
            stale_until: now,
        }
    }
}

/// Long enough for "for ever", and no overflow of the clock.
pub(crate) const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

pub(crate) fn later(start: Instant, span: Duration) -> Instant {
    start + span.min(FOREVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_lifetime_does_not_overflow_the_clock() {
        let now = Instant::now();
        let times = Times::of(
            now,
            Duration::MAX,
            Duration::MAX,
            (Duration::MAX, Duration::MAX),
        );
        assert!(times.stale_until > now);
    }
}
