//! The race of Happy Eyeballs (RFC 8305) as a state machine: no sockets, no Tower, time as an argument.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::{Attempt, AttemptOutcome, ConnectErrorKind};

/// No two attempts start closer together than this (RFC 8305 section 5: "MUST NOT be less").
pub(crate) const MIN_GAP: Duration = Duration::from_millis(10);

/// The pace of a race.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// From one start to the next while nothing fails.
    pub(crate) attempt_delay: Duration,
    /// The most attempts that are open at a time.
    pub(crate) max_concurrent: usize,
    /// The number of addresses of the first family before the first one of the other.
    pub(crate) first_family_count: usize,
}

/// The untried addresses that a failure bars.
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

/// RFC 8305 section 8: "Minimum Connection Attempt Delay: 100 milliseconds". To this the delay is cut
/// where the time for the dial is too short for all addresses.
const SHORT_DELAY: Duration = Duration::from_millis(100);
/// An attempt that was open for this long has had its chance: the first SYN was due again (RFC 6298
/// section 2: initial retransmission timeout of 1 s).
const GRACE: Duration = Duration::from_secs(1);

/// The next thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Start an attempt at this address and report on it under this number.
    Start(usize, SocketAddr),
    /// Close the attempt with this number at this address, which has had its chance, and ask again.
    GiveUp(usize, SocketAddr),
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
    /// The end of the time for the race, if that is known.
    ends: Option<Instant>,
    /// The attempt delay, cut to the time there is.
    delay: Duration,
    /// The time after which an open attempt has had its chance, cut likewise.
    grace: Duration,
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
            ends: None,
            delay: pace.attempt_delay,
            grace: GRACE,
            attempts: Vec::with_capacity(addrs.len().min(pace.max_concurrent)),
            queue: addrs.into(),
            barred: (false, false),
            open: 0,
            last_start: None,
            due: began,
        }
    }

    /// The same race, which is over at `ends`: its times are cut to what is left from `now`.
    pub(crate) fn until(mut self, ends: Option<Instant>, now: Instant) -> Self {
        self.ends = ends;
        if let Some(ends) = ends {
            // Most of the time, so that an attempt that had it all is known to have failed.
            let left = ends.saturating_duration_since(now);
            self.grace = GRACE.min(left.saturating_sub(left / 8));
        }
        self.cut_delay(now);
        self
    }

    /// Cuts the delay so that every address is started in time, but not below [`SHORT_DELAY`], or a
    /// quarter of what is left if that is shorter still: many addresses are no reason for a burst.
    fn cut_delay(&mut self, now: Instant) {
        let Some(ends) = self.ends else { return };
        let left = ends.saturating_duration_since(now);
        let addrs = u32::try_from(self.queue.len() + self.open).unwrap_or(u32::MAX);
        let share = (left / addrs.max(1)).max(SHORT_DELAY.min(left / 4));
        self.delay = self.pace.attempt_delay.min(share);
        // The next start was set by a longer delay.
        if let Some(last) = self.last_start {
            self.due = self.due.min(last + self.delay.max(MIN_GAP));
        }
    }

    /// Adds addresses to the tail, but for those of barred families. `addrs` are none that the race
    /// [has](Self::has).
    pub(crate) fn join(&mut self, addrs: Vec<SocketAddr>, now: Instant) {
        let barred = self.barred;
        let is_barred = |addr: &SocketAddr| if addr.is_ipv4() { barred.0 } else { barred.1 };
        self.queue
            .extend(addrs.into_iter().filter(|addr| !is_barred(addr)));
        // More addresses in the same time: the share of each is smaller now.
        self.cut_delay(now);
    }

    /// Returns `true` if this address was tried or is going to be.
    pub(crate) fn has(&self, addr: SocketAddr) -> bool {
        self.queue.contains(&addr) || self.attempts.iter().any(|attempt| attempt.addr == addr)
    }

    /// Returns `true` unless both families are barred.
    pub(crate) fn is_open_to_more(&self) -> bool {
        self.barred != (true, true)
    }

    /// Every attempt so far, in the order they were started.
    pub(crate) fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// The start of the first attempt.
    pub(crate) fn first_start(&self) -> Instant {
        self.attempts
            .first()
            .map_or(self.began, |first| self.began + first.started_after)
    }

    /// The next thing to do. To be called until it returns a wait.
    pub(crate) fn step(&mut self, now: Instant) -> Step {
        let Some(&addr) = self.queue.front() else {
            return if self.open == 0 {
                Step::Exhausted
            } else {
                Step::Wait
            };
        };
        // Before the pace: at the cap the oldest attempt has to have had its chance too, and
        // `make_room` waits for whichever comes later.
        if self.open >= self.pace.max_concurrent {
            return self.make_room(now);
        }
        if now < self.due {
            return Step::WaitUntil(self.due);
        }
        self.queue.pop_front();
        self.open += 1;
        self.last_start = Some(now);
        // From this start, not from when it was due: a task that is polled late makes up for it
        // with no burst.
        self.due = now + self.delay.max(MIN_GAP);
        let attempt = Attempt::started(addr, now.saturating_duration_since(self.began));
        self.attempts.push(attempt);
        Step::Start(self.attempts.len() - 1, addr)
    }

    /// As many attempts are open as may be, and addresses are untried: the oldest attempt makes room
    /// once it has had its chance. Otherwise a few silent addresses would hide the good one behind
    /// them for as long as the dial lasts.
    fn make_room(&mut self, now: Instant) -> Step {
        let pending = |attempt: &Attempt| attempt.outcome == AttemptOutcome::Pending;
        let Some(oldest) = self.attempts.iter().position(pending) else {
            return Step::Wait;
        };
        let Attempt {
            addr,
            started_after,
            ..
        } = self.attempts[oldest];
        let due = (self.began + started_after + self.grace).max(self.due);
        if now < due {
            return Step::WaitUntil(due);
        }
        self.end(oldest, AttemptOutcome::Failed(ConnectErrorKind::Timeout));
        Step::GiveUp(oldest, addr)
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
            // Stable: within a family the order stands.
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
        // The winner first: while it is pending, the loop below would give it up with the others.
        self.end(attempt, AttemptOutcome::Connected);
        self.queue.clear();
        self.open = 0;
        for other in &mut self.attempts {
            if other.outcome == AttemptOutcome::Pending {
                other.outcome = AttemptOutcome::Abandoned;
            }
        }
    }

    /// The number of addresses that were tried or may still be.
    pub(crate) fn candidates(&self) -> usize {
        self.attempts.len() + self.queue.len()
    }

    /// Returns `true` if addresses are left that were not tried.
    pub(crate) fn has_untried(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The race is over without a winner: attempts that have had their chance count as timed out, and
    /// are returned.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<SocketAddr> {
        let mut timed_out = Vec::new();
        for attempt in &mut self.attempts {
            let open_for = now.saturating_duration_since(self.began + attempt.started_after);
            if attempt.outcome == AttemptOutcome::Pending && open_for >= self.grace {
                attempt.outcome = AttemptOutcome::Failed(ConnectErrorKind::Timeout);
                timed_out.push(attempt.addr);
            }
        }
        timed_out
    }

    /// Returns `true` if an attempt had its chance in vain, now or when it made room for another.
    pub(crate) fn has_timed_out(&self) -> bool {
        let timed_out = AttemptOutcome::Failed(ConnectErrorKind::Timeout);
        self.attempts
            .iter()
            .any(|attempt| attempt.outcome == timed_out)
    }

    /// Returns `true` if every attempt has failed and there was one.
    pub(crate) fn all_failed(&self) -> bool {
        let failed = |attempt: &Attempt| matches!(attempt.outcome, AttemptOutcome::Failed(_));
        !self.attempts.is_empty() && self.attempts.iter().all(failed)
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
    let mut known = HashSet::new();
    for addr in addrs.into_iter().filter(|addr| known.insert(*addr)) {
        let leads = first
            .front()
            .is_none_or(|lead: &SocketAddr| lead.is_ipv4() == addr.is_ipv4());
        let family = if leads { &mut first } else { &mut second };
        family.push_back(addr);
    }
    let mut mixed = Vec::with_capacity(first.len() + second.len());
    // One less than asked for: the turns that follow begin with this family again.
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
