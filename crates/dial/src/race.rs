//! The race of RFC 8305 as a state machine: no sockets, no Tower, time as an argument.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::{Attempt, AttemptOutcome, ConnectErrorKind};

/// No two attempts start closer together than this (RFC 8305 section 5: "MUST NOT be less").
pub(crate) const MIN_GAP: Duration = Duration::from_millis(10);

/// How fast a race goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// From one start to the next while nothing fails.
    pub(crate) attempt_delay: Duration,
    /// How many attempts are open at most.
    pub(crate) max_concurrent: usize,
    /// How many addresses of the first family come before the first one of the other.
    pub(crate) first_family_count: usize,
}

/// What a failure says about the addresses that were not tried yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bars {
    /// Nothing.
    None,
    /// There was no route: the rest of the family is tried last. Not dropped, since another address
    /// of it may be on a network that does have one.
    FamilyLast,
    /// No socket of this family can be had.
    Family,
    /// Nothing can be opened at all.
    All,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Start an attempt at this address and report on it under this number.
    Start(usize, SocketAddr),
    /// Ask again then, or after a report.
    WaitUntil(Instant),
    /// Ask again after a report.
    Wait,
    /// Every attempt has failed and none is left to start.
    Exhausted,
}

/// Each address is started at most once; the numbers of attempts count from 0 in starting order.
#[derive(Debug)]
pub(crate) struct Race {
    pace: Pace,
    began: Instant,
    queue: VecDeque<SocketAddr>,
    /// The families that nothing more is started of: IPv4, IPv6.
    barred: (bool, bool),
    attempts: Vec<Attempt>,
    open: usize,
    last_start: Option<Instant>,
    due: Instant,
}

impl Race {
    /// A race over `addrs`, in this order. `began` is what attempts' times are counted from.
    pub(crate) fn new(pace: Pace, began: Instant, addrs: Vec<SocketAddr>) -> Self {
        Self {
            pace,
            began,
            attempts: Vec::with_capacity(addrs.len().min(pace.max_concurrent)),
            queue: addrs.into(),
            barred: (false, false),
            open: 0,
            last_start: None,
            due: began,
        }
    }

    /// Adds addresses to the tail, but for those of barred families. `addrs` are none that the race
    /// [has](Self::has).
    pub(crate) fn join(&mut self, addrs: Vec<SocketAddr>) {
        let barred = self.barred;
        let is_barred = |addr: &SocketAddr| if addr.is_ipv4() { barred.0 } else { barred.1 };
        self.queue
            .extend(addrs.into_iter().filter(|addr| !is_barred(addr)));
    }

    /// Whether this address was tried or is going to be.
    pub(crate) fn has(&self, addr: SocketAddr) -> bool {
        self.queue.contains(&addr) || self.attempts.iter().any(|attempt| attempt.addr == addr)
    }

    /// Whether addresses that come later could be tried.
    pub(crate) fn is_open_to_more(&self) -> bool {
        self.barred != (true, true)
    }

    /// Every attempt so far, in the order they were started.
    pub(crate) fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// When the first attempt was started.
    pub(crate) fn first_start(&self) -> Instant {
        self.attempts
            .first()
            .map_or(self.began, |first| self.began + first.started_after)
    }

    /// The next thing to do. To be asked until it says to wait.
    pub(crate) fn step(&mut self, now: Instant) -> Step {
        let Some(&addr) = self.queue.front() else {
            return if self.open == 0 {
                Step::Exhausted
            } else {
                Step::Wait
            };
        };
        if self.open >= self.pace.max_concurrent {
            return Step::Wait;
        }
        if now < self.due {
            return Step::WaitUntil(self.due);
        }
        self.queue.pop_front();
        self.open += 1;
        self.last_start = Some(now);
        self.due = now + self.pace.attempt_delay.max(MIN_GAP);
        let attempt = Attempt::started(addr, now.saturating_duration_since(self.began));
        self.attempts.push(attempt);
        Step::Start(self.attempts.len() - 1, addr)
    }

    /// An attempt failed: the next one is due at once, [`MIN_GAP`] after the last start at the
    /// earliest.
    pub(crate) fn failed(&mut self, attempt: usize, kind: ConnectErrorKind, bars: Bars) {
        self.end(attempt, AttemptOutcome::Failed(kind));
        if let Some(last) = self.last_start {
            self.due = self.due.min(last + MIN_GAP);
        }
        let v4 = self.attempts[attempt].addr.is_ipv4();
        match bars {
            Bars::None => {}
            Bars::FamilyLast => self
                .queue
                .make_contiguous()
                .sort_by_key(|addr| addr.is_ipv4() == v4),
            Bars::Family => self.bar((v4, !v4)),
            Bars::All => self.bar((true, true)),
        }
    }

    fn bar(&mut self, (v4, v6): (bool, bool)) {
        self.barred = (self.barred.0 || v4, self.barred.1 || v6);
        self.queue
            .retain(|addr| if addr.is_ipv4() { !v4 } else { !v6 });
    }

    /// An attempt succeeded: it wins, and the open ones are given up.
    pub(crate) fn won(&mut self, attempt: usize) {
        self.end(attempt, AttemptOutcome::Connected);
        self.queue.clear();
        self.open = 0;
        for other in &mut self.attempts {
            if other.outcome == AttemptOutcome::Pending {
                other.outcome = AttemptOutcome::Abandoned;
            }
        }
    }

    /// How many addresses were tried or may still be.
    pub(crate) fn candidates(&self) -> usize {
        self.attempts.len() + self.queue.len()
    }

    /// Whether addresses are left that were not tried.
    pub(crate) fn has_untried(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The open attempts that were started `grace` ago or earlier.
    pub(crate) fn slow(&self, now: Instant, grace: Duration) -> impl Iterator<Item = SocketAddr> {
        let is_slow = move |attempt: &&Attempt| {
            let open_for = now.saturating_duration_since(self.began + attempt.started_after);
            attempt.outcome == AttemptOutcome::Pending && open_for >= grace
        };
        self.attempts
            .iter()
            .filter(is_slow)
            .map(|attempt| attempt.addr)
    }

    /// Time is up: attempts that have been open for `grace` count as timed out.
    pub(crate) fn expire(&mut self, now: Instant, grace: Duration) {
        let began = self.began;
        for attempt in &mut self.attempts {
            let open_for = now.saturating_duration_since(began + attempt.started_after);
            if attempt.outcome == AttemptOutcome::Pending && open_for >= grace {
                attempt.outcome = AttemptOutcome::Failed(ConnectErrorKind::TimedOut);
            }
        }
    }

    fn end(&mut self, attempt: usize, outcome: AttemptOutcome) {
        let attempt = &mut self.attempts[attempt];
        debug_assert_eq!(
            attempt.outcome,
            AttemptOutcome::Pending,
            "an attempt ends once"
        );
        attempt.outcome = outcome;
        self.open -= 1;
    }
}

/// Puts the families in turn, after `first_family_count` addresses of that of the first address
/// (RFC 8305 section 4), and each address once.
///
/// Beginning with the first keeps what the resolver preferred (getaddrinfo sorts by RFC 6724).
pub(crate) fn interleave(
    addrs: impl IntoIterator<Item = SocketAddr>,
    first_family_count: usize,
) -> Vec<SocketAddr> {
    let mut first = VecDeque::new();
    let mut second = VecDeque::new();
    for addr in addrs {
        let leads = first
            .front()
            .is_none_or(|lead: &SocketAddr| lead.is_ipv4() == addr.is_ipv4());
        let family = if leads { &mut first } else { &mut second };
        if !family.contains(&addr) {
            family.push_back(addr);
        }
    }
    let mut mixed = Vec::with_capacity(first.len() + second.len());
    let ahead = first_family_count.saturating_sub(1).min(first.len());
    mixed.extend(first.drain(..ahead));
    while !(first.is_empty() && second.is_empty()) {
        mixed.extend(first.pop_front());
        mixed.extend(second.pop_front());
    }
    mixed
}

#[cfg(test)]
mod tests;
