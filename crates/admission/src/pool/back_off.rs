//! What failed opens lead to (A7).

use std::time::Duration;

use tokio::time::Instant;

use crate::jitter::Jitter;
use crate::pool::BackOff;

/// Normal → Waiting (enough failures in a row) → Probing → Waiting (the probe failed);
/// any → Normal (an open succeeded).
#[derive(Debug)]
pub(crate) struct BackOffState<E> {
    state: State,
    failures: u32,
    /// The number of times that the pause has been doubled.
    doublings: u32,
    last: Option<E>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Normal,
    Waiting {
        until: Instant,
    },
    /// The pause is over. One open may be tried, and nothing besides until one succeeds: all who wait
    /// would be a thundering herd on a peer that has just come back.
    Probing {
        started: bool,
    },
}

impl<E: Clone> BackOffState<E> {
    pub(crate) const fn new() -> Self {
        Self {
            state: State::Normal,
            failures: 0,
            doublings: 0,
            last: None,
        }
    }

    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    pub(crate) fn waits_until(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { until } => Some(until),
            _ => None,
        }
    }

    pub(crate) fn last_error(&self) -> Option<E> {
        self.last.clone()
    }

    /// Ends a pause that is over.
    pub(crate) fn tick(&mut self, now: Instant) {
        if self.waits_until().is_some_and(|until| until <= now) {
            self.state = State::Probing { started: false };
        }
    }

    pub(crate) fn may_open(&self, now: Instant) -> bool {
        match self.state {
            State::Normal => true,
            // A pause ends by the clock, though no tick has made a probe of it yet.
            State::Waiting { until } => until <= now,
            State::Probing { started } => !started,
        }
    }

    pub(crate) fn open_started(&mut self, now: Instant) {
        // First: a pause that ended between two ticks becomes a probe here, and this open is it.
        // Left as it was, it would bar none of those that follow.
        self.tick(now);
        if let State::Probing { started } = &mut self.state {
            *started = true;
        }
    }

    /// An open ended without an outcome: if it was the probe, another may be tried.
    pub(crate) fn open_abandoned(&mut self) {
        if let State::Probing { started } = &mut self.state {
            *started = false;
        }
    }

    /// Returns the error remembered so far, to be dropped elsewhere.
    pub(crate) fn succeeded(&mut self) -> Option<E> {
        self.state = State::Normal;
        self.failures = 0;
        self.doublings = 0;
        self.last.take()
    }

    /// Counts a failure; `true` if a pause begins, which the first does only if the failed open
    /// left the pool `alone`, with nothing open or being opened. Opens do not say which they are: in `Probing`
    /// one that was started before the pause is taken for the probe, which only means that the
    /// next probe comes later, and a success still ends it all.
    pub(crate) fn failed(
        &mut self,
        now: Instant,
        alone: bool,
        config: &BackOff,
        jitter: &mut Jitter,
    ) -> bool {
        self.tick(now);
        self.failures = self.failures.saturating_add(1);
        // While something serves, growth bounds the opens and no request pays for a pause (A14).
        let begins = match self.state {
            State::Normal => alone && self.failures >= config.after.get(),
            // Opens from before the pause that fail in it make it no longer.
            State::Waiting { .. } => false,
            State::Probing { started } => started && alone,
        };
        if begins {
            let pause = config.first.saturating_mul(1 << self.doublings.min(31));
            // Spread after the cap: pools that have all reached the longest pause would probe in
            // step.
            let pause = jitter.spread(pause.min(config.max), config.jitter_percent);
            // For the next one: the first pause is not doubled.
            self.doublings = self.doublings.saturating_add(1);
            self.state = State::Waiting {
                until: later(now, pause),
            };
        }
        begins
    }

    pub(crate) fn remember(&mut self, error: E) -> Option<E> {
        self.last.replace(error)
    }
}

/// A pause too long for the clock ends in a day, so that it ends.
fn later(now: Instant, pause: Duration) -> Instant {
    const DAY: Duration = Duration::from_secs(86_400);
    now.checked_add(pause).unwrap_or(now + DAY)
}
