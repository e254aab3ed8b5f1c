//! One question, a name and a family, to several servers.
//!
//! * The configured order stands: the next server is asked when the one before has failed, or has
//!   not replied for the hedge. Servers that failed a short time ago are asked after the others.
//! * A positive reply counts at once, whichever server it comes from.
//! * A negative reply counts when every server before it in the configured order has replied or
//!   failed: the first server may be the one that knows the names of this network.
//! * A server that stays silent counts as failed after [`Times::silence`], and its reply is still
//!   taken until [`Times::limit`]. It is asked again at growing intervals in between.

use std::time::Duration;

use tokio::time::Instant;

use super::{Failure, Found, Reply, Seat, Times, timed_out};
use crate::values::error::LookupError;

#[derive(Clone, Debug)]
pub(super) enum Verdict {
    Found(Found),
    NoData(Option<Duration>),
    NoName(Option<Duration>),
    Failed(Failure, LookupError),
}

pub(super) struct Question {
    began: Instant,
    /// In the configured order.
    servers: Vec<Asked>,
    /// Indices of `servers` in the order of asking, and how many of them were asked.
    order: Vec<usize>,
    asked: usize,
    found: Option<Found>,
}

struct Asked {
    seat: Seat,
    state: State,
}

enum State {
    Unasked,
    Waiting {
        since: Instant,
        /// The number of times that it was asked.
        times: u32,
        silent: bool,
    },
    /// NODATA or NXDOMAIN.
    Negative(Verdict),
    Failed(Failure, LookupError),
}

type Stepped = (Vec<usize>, Option<Verdict>, Option<Instant>);

impl Question {
    pub(super) fn new(seats: &[Seat], now: Instant) -> Self {
        let mut order: Vec<usize> = (0..seats.len()).collect();
        // Stable: within the healthy and within the failing the configured order stands.
        order.sort_by_key(|&place| (seats[place].demoted, seats[place].silent));
        let asked = |&seat: &Seat| Asked {
            seat,
            state: State::Unasked,
        };
        Self {
            began: now,
            servers: seats.iter().map(asked).collect(),
            order,
            asked: 0,
            found: None,
        }
    }

    pub(super) fn reply(&mut self, server: usize, reply: Reply) {
        let asked = self.servers.iter_mut().find(|a| a.seat.server == server);
        let Some(asked) = asked.filter(|asked| matches!(asked.state, State::Waiting { .. })) else {
            return;
        };
        asked.state = match reply {
            Reply::Found(found) => {
                self.found.get_or_insert(found);
                return;
            }
            Reply::NoData(ttl) => State::Negative(Verdict::NoData(ttl)),
            Reply::NoName(ttl) => State::Negative(Verdict::NoName(ttl)),
            Reply::Failed(failure, error) => State::Failed(failure, error),
        };
    }

    /// The servers to ask now, the verdict if there is one, and when to look again.
    pub(super) fn step(&mut self, now: Instant, times: &Times, silent: &mut Vec<usize>) -> Stepped {
        let mut asks = Vec::new();
        let mut wake = None;
        for asked in &mut self.servers {
            asked.grow_silent(now, times, silent);
        }
        loop {
            if let Some(verdict) = self.verdict(now, times) {
                return (asks, Some(verdict), None);
            }
            let Some(place) = self.due(now, times, &mut wake) else {
                break;
            };
            self.servers[place].ask(now, times);
            asks.push(self.servers[place].seat.server);
        }
        wake = super::earlier(wake, Some(self.began + times.limit));
        for asked in &self.servers {
            wake = super::earlier(wake, asked.again(times));
        }
        (asks, None, wake)
    }

    pub(super) fn overtaken(&self, now: Instant, hedge: Duration) -> Vec<usize> {
        let late = |asked: &&Asked| match asked.state {
            State::Waiting { since, .. } => now >= since + hedge,
            _ => false,
        };
        let late = self.servers.iter().filter(late);
        let servers = late.map(|asked| asked.seat.server).collect();
        if self.found.is_some() {
            servers
        } else {
            Vec::new()
        }
    }

    /// The server to ask next, if it is time; else notes when it will be.
    fn due(&mut self, now: Instant, times: &Times, wake: &mut Option<Instant>) -> Option<usize> {
        let due_again = |asked: &Asked| asked.again(times).is_some_and(|again| now >= again);
        if let Some(again) = self.servers.iter().position(due_again) {
            return Some(again);
        }
        if let Some(place) = self.authority_unasked() {
            return Some(place);
        }
        // A negative reply counts, but for servers before it: none behind it is asked any more.
        if self
            .servers
            .iter()
            .any(|a| matches!(a.state, State::Negative(_)))
        {
            return None;
        }
        let next = loop {
            let next = *self.order.get(self.asked)?;
            if matches!(self.servers[next].state, State::Unasked) {
                break next;
            }
            self.asked += 1;
        };
        let last = self
            .asked
            .checked_sub(1)
            .map(|last| &self.servers[self.order[last]].state);
        match last {
            Some(State::Waiting { since, .. }) if now < *since + times.hedge => {
                *wake = super::earlier(*wake, Some(*since + times.hedge));
                None
            }
            _ => {
                self.asked += 1;
                Some(next)
            }
        }
    }

    /// A server that was put back for failing, before one in the configured order whose reply is
    /// negative: its word goes first. One that was silent is not waited for.
    fn authority_unasked(&self) -> Option<usize> {
        let negative = |asked: &Asked| matches!(asked.state, State::Negative(_));
        let last = self.servers.iter().rposition(negative)?;
        let unasked = |asked: &Asked| matches!(asked.state, State::Unasked) && !asked.seat.silent;
        self.servers[..last].iter().position(unasked)
    }

    fn verdict(&self, now: Instant, times: &Times) -> Option<Verdict> {
        if let Some(found) = &self.found {
            return Some(Verdict::Found(found.clone()));
        }
        let is_over = now >= self.began + times.limit;
        let (mut failure, mut hopeful) = (None::<(Failure, &LookupError)>, false);
        for asked in &self.servers {
            match &asked.state {
                // None before it in the configured order is waited for any more: its word counts.
                State::Negative(verdict) => return Some(verdict.clone()),
                State::Failed(kind, error) => {
                    if failure.is_none_or(|(known, _)| *kind > known) {
                        failure = Some((*kind, error));
                    }
                }
                State::Waiting { silent: true, .. } => hopeful = true,
                State::Unasked if asked.seat.silent => hopeful = true,
                State::Waiting { .. } | State::Unasked if is_over => {}
                State::Waiting { .. } | State::Unasked => return None,
            }
        }
        if hopeful && !is_over {
            return None;
        }
        Some(match failure {
            Some((kind, error)) => Verdict::Failed(kind, error.clone()),
            None => Verdict::Failed(Failure::Silent, timed_out()),
        })
    }
}

impl Asked {
    fn ask(&mut self, now: Instant, pace: &Times) {
        let State::Waiting { since, times, .. } = &mut self.state else {
            self.state = State::Waiting {
                since: now,
                times: 1,
                silent: false,
            };
            return;
        };
        // Once, also when a step comes so late that several were due.
        while *times < MAX_TIMES && due_again(*since, *times, pace) <= now {
            *times += 1;
        }
    }

    fn grow_silent(&mut self, now: Instant, times: &Times, fallen: &mut Vec<usize>) {
        if let State::Waiting { since, silent, .. } = &mut self.state
            && !*silent
            && now >= *since + times.silence
        {
            *silent = true;
            fallen.push(self.seat.server);
        }
    }

    /// Returns the time at which it is asked again.
    fn again(&self, pace: &Times) -> Option<Instant> {
        match self.state {
            State::Waiting { since, times, .. } if times < MAX_TIMES => {
                Some(due_again(since, times, pace))
            }
            _ => None,
        }
    }
}

/// A server is asked this often at most, each time with the resends of its transport.
const MAX_TIMES: u32 = 8;

/// After 1, 3, 7 … times the silence.
fn due_again(since: Instant, times: u32, pace: &Times) -> Instant {
    since
        + pace
            .silence
            .saturating_mul((1 << times) - 1)
            .min(pace.limit)
}
