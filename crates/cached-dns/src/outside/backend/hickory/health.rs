//! The health of one server: pure, time as an argument.

use std::time::Duration;

use tokio::time::Instant;

use super::machine::{Failure, Seat};

/// The first and the longest time that a failing server is asked after the others.
const DEMOTED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Health {
    failures: u32,
    /// The time until which it is asked after the others, and how it failed.
    demoted: Option<(Instant, Failure)>,
    /// A query of it is followed to its end in the background.
    pub(super) probed: bool,
}

impl Health {
    pub(super) fn replied(&mut self) {
        self.failures = 0;
        self.demoted = None;
    }

    /// Several queries that fail at the same time, as A and AAAA do, are one failure.
    pub(super) fn failed(&mut self, failure: Failure, now: Instant) {
        if let Some((until, known)) = &mut self.demoted
            && now < *until
        {
            // The worse of the two, which is silence: a server that is silent is not waited for.
            *known = failure.min(*known);
            return;
        }
        let (first, longest) = DEMOTED;
        let span = first.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        self.demoted = Some((now + span.min(longest), failure));
    }

    pub(super) fn seat(&self, server: usize, now: Instant) -> Seat {
        let failure = self.demoted.filter(|(until, _)| now < *until);
        Seat {
            server,
            demoted: failure.is_some(),
            silent: failure.is_some_and(|(_, failure)| failure == Failure::Silent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_demote_for_one_second_doubling_to_sixty() {
        let (mut now, mut health) = (Instant::now(), Health::default());
        let mut spans = Vec::new();
        for _ in 0..8 {
            let start = now;
            health.failed(Failure::Replied, now);
            while health.seat(0, now).demoted {
                now += Duration::from_secs(1);
            }
            spans.push((now - start).as_secs());
        }
        assert_eq!(spans, [1, 2, 4, 8, 16, 32, 60, 60]);
        health.failed(Failure::Silent, now);
        assert!(health.seat(3, now).silent);
        health.replied();
        let healthy = Seat {
            server: 3,
            ..Seat::default()
        };
        assert_eq!(health.seat(3, now), healthy);
    }
}
