//! When to ask a peer whether the path to it is alive, within what gRPC's servers put up with.
//!
//! They count a ping as a strike that comes within five minutes of the last one, unless HEADERS or DATA
//! went out to the client in between, and end the connection at the third strike (gRFC A8).

use std::time::Duration;

use tokio::time::Instant;

use crate::connection::earliest;
use crate::options::protocol::Http2Options;

/// What gRPC's servers let a client ping without data, unless they are told otherwise.
const APART: Duration = Duration::from_secs(5 * 60 + MARGIN);
/// For what the network holds up one ping and not the next.
const MARGIN: u64 = 10;
/// Pings between two messages of the peer: the first is free, and the second is one strike of three.
const FREE: u8 = 2;

/// Timers are no finer; with none at all the answer to a ping would be followed by the next at once.
const SHORTEST: Duration = Duration::from_millis(1);

/// The time at which to ping.
#[derive(Debug)]
pub(super) struct Pings {
    /// After so much silence, whatever is on the connection; `None` for never.
    every: Option<Duration>,
    /// After so much silence while a request is unanswered.
    probe_after: Option<Duration>,
    limit: Duration,
    /// The time at which the last frame came.
    heard: Instant,
    /// The time at which the ping was written that is not answered.
    asked: Option<Instant>,
    last: Option<Instant>,
    /// Pings since HEADERS or DATA came.
    since_message: u8,
}

/// The silences after which a connection is pinged, doubled where a peer wanted it so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Whatever is on it; `None` for never.
    pub(crate) every: Option<Duration>,
    /// While a request is unanswered.
    pub(crate) probe_after: Option<Duration>,
}

/// What is to be done about the silence.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Silence {
    Fine,
    Ask,
    /// A ping was not answered for so long.
    Dead(Duration),
}

impl Pings {
    pub(super) fn new(options: &Http2Options, doublings: u32, now: Instant) -> Self {
        let doubled = |every: Duration| every.saturating_mul(1 << doublings.min(16));
        Self {
            every: options
                .ping_interval
                .map(|every| doubled(every).max(SHORTEST)),
            probe_after: options.probe_after.map(doubled),
            limit: options.ping_timeout,
            heard: now,
            asked: None,
            last: None,
            since_message: 0,
        }
    }

    /// The silences in force, after which it is pinged.
    pub(super) const fn pace(&self) -> Pace {
        Pace {
            every: self.every,
            probe_after: self.probe_after,
        }
    }

    /// A frame came; `message` says that it was HEADERS or DATA.
    pub(super) fn heard(&mut self, now: Instant, message: bool) {
        self.heard = now;
        if message {
            self.since_message = 0;
        }
    }

    pub(super) fn answered(&mut self) {
        self.asked = None;
    }

    pub(super) const fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// Returns true if a ping may go out that no interval of the user's asks for.
    pub(super) fn may_ask(&self, now: Instant) -> bool {
        self.asked.is_none() && self.allowed_at(now) <= now
    }

    fn allowed_at(&self, now: Instant) -> Instant {
        match self.last {
            Some(last) if self.since_message >= FREE => last + APART,
            _ => now,
        }
    }

    pub(super) fn asks(&mut self, now: Instant) {
        self.asked = Some(now);
        self.last = Some(now);
        self.since_message = self.since_message.saturating_add(1);
    }

    /// Returns the time at which to look again. `waiting` is since when a request is unanswered.
    pub(super) fn due(&self, waiting: Option<Instant>, now: Instant) -> Option<Instant> {
        // One ping at a time: until its answer is there or late nothing else is due.
        if let Some(asked) = self.asked {
            // What the clock does not reach is never due.
            return asked.checked_add(self.limit);
        }
        let every = self.every.and_then(|every| self.heard.checked_add(every));
        let probe = self.probe_after.zip(waiting).and_then(|(after, waiting)| {
            let silent_for = self.heard.max(waiting).checked_add(after)?;
            Some(silent_for.max(self.allowed_at(now)))
        });
        earliest(every, probe)
    }

    pub(super) fn look(&self, waiting: Option<Instant>, now: Instant) -> Silence {
        match (self.due(waiting, now), self.asked) {
            (Some(due), Some(asked)) if due <= now => Silence::Dead(now - asked),
            (Some(due), None) if due <= now => Silence::Ask,
            _ => Silence::Fine,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: Duration = Duration::from_secs(1);

    fn pings(options: Http2Options) -> (Pings, Instant) {
        let now = Instant::now();
        (Pings::new(&options, 0, now), now)
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_asked_by_default_without_a_request() {
        let (pings, now) = pings(Http2Options::new());
        assert_eq!(pings.due(None, now), None);
    }

    #[tokio::test(start_paused = true)]
    async fn silent_requests_ping_twice_then_every_five_minutes() {
        let options = Http2Options::new().probe_after(Some(SEC));
        let (mut pings, start) = pings(options);
        let mut now = start;
        for after in [SEC, SEC, APART, APART] {
            let since = now;
            now = pings.due(Some(start), now).unwrap();
            assert_eq!(now - since, after);
            assert_eq!(pings.look(Some(start), now), Silence::Ask);
            pings.asks(now);
            pings.answered();
            pings.heard(now, false);
        }
        pings.heard(now, true);
        assert_eq!(
            pings.due(Some(start), now),
            Some(now + SEC),
            "a message came"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_ping_without_answer_is_the_end() {
        let (mut pings, now) = pings(Http2Options::new().ping_timeout(SEC));
        pings.asks(now);
        assert_eq!(pings.look(None, now), Silence::Fine);
        assert_eq!(pings.look(None, now + SEC), Silence::Dead(SEC));
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_pings_double_the_interval() {
        let options = Http2Options::new().ping_interval(Some(SEC));
        let now = Instant::now();
        for (slower, due) in [(0, SEC), (1, 2 * SEC), (3, 8 * SEC)] {
            assert_eq!(
                Pings::new(&options, slower, now).due(None, now),
                Some(now + due)
            );
        }
    }
}
