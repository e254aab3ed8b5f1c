//! A lookup as a state machine over candidates × families × servers: no socket, no timer, time as
//! an argument.
//!
//! The shell puts each [`Ask`] on the wire, reports each [`Reply`], and calls
//! [`step`](Lookup::step) again at the time that the step returns. What is decided here: the order of servers
//! and whose word counts ([`question`]), when one address family is enough (RFC 8305 §3), what
//! "no such name" for one family means for the other (RFC 8020, RFC 4074), and how far the search
//! list is walked.

mod question;
#[cfg(test)]
mod tests;
mod values;

use std::time::Duration;

use tokio::time::Instant;

use self::question::{Question, Verdict};
pub(super) use self::values::{Ask, Failure, Family, Found, Outcome, Reply, Seat, Step, Times};
use crate::values::error::{LookupError, LookupErrorKind};

pub(super) struct Lookup {
    times: Times,
    seats: Vec<Seat>,
    families: Vec<Family>,
    candidates: usize,
    candidate: usize,
    questions: Vec<Question>,
    /// The time since which one family is settled and the other is waited for.
    settled: Option<Instant>,
    /// The time at which the answer of one family was given out.
    given: Option<Instant>,
    /// The shortest time that a candidate's "not found" holds.
    shortest: Option<Duration>,
    /// The first candidate that servers replied to without an answer.
    undecided: Option<LookupError>,
}

impl Lookup {
    /// A lookup of the first of `candidates` names that has addresses.
    pub(super) fn new(
        times: Times,
        seats: Vec<Seat>,
        families: &[Family],
        candidates: usize,
        now: Instant,
    ) -> Self {
        let mut this = Self {
            times,
            seats,
            families: families.to_vec(),
            candidates,
            candidate: 0,
            questions: Vec::new(),
            settled: None,
            given: None,
            shortest: None,
            undecided: None,
        };
        this.begin(now);
        this
    }

    /// Takes note of a reply; one to a question that has been left behind changes nothing.
    pub(super) fn reply(&mut self, to: Ask, reply: Reply) {
        if to.candidate != self.candidate {
            return;
        }
        let place = self.families.iter().position(|&family| family == to.family);
        if let Some(question) = place.and_then(|place| self.questions.get_mut(place)) {
            question.reply(to.server, reply);
        }
    }

    /// The next step. Of an outcome that is not `pending`, it is the last one.
    pub(super) fn step(&mut self, now: Instant) -> Step {
        let mut step = Step::default();
        loop {
            let mut verdicts = Vec::with_capacity(2);
            // Anew for each candidate: the times of the one before are void.
            step.wake = None;
            for (question, &family) in self.questions.iter_mut().zip(&self.families) {
                let (asks, verdict, wake) = question.step(now, &self.times, &mut step.silent);
                step.asks.extend(asks.into_iter().map(|server| Ask {
                    candidate: self.candidate,
                    family,
                    server,
                }));
                step.wake = earlier(step.wake, wake);
                verdicts.push(verdict);
            }
            let wake;
            (step.outcome, wake) = self.judge(&verdicts, now);
            step.wake = earlier(step.wake, wake);
            match step.outcome.take() {
                // The next name of the search list, unless the lookup is over.
                Some(Outcome::NotFound(ttl)) => {
                    self.shortest = [self.shortest, ttl].into_iter().flatten().min();
                }
                Some(Outcome::Failed(error)) if self.may_walk_past(&verdicts) => {
                    self.undecided.get_or_insert(error);
                }
                outcome => {
                    step.outcome = outcome;
                    return step;
                }
            }
            // What was to be asked for the candidate before is not asked any more.
            step.asks.clear();
            self.candidate += 1;
            if self.candidate == self.candidates {
                step.outcome = Some(match self.undecided.take() {
                    Some(error) => Outcome::Failed(error),
                    None => Outcome::NotFound(self.shortest),
                });
                return step;
            }
            self.begin(now);
        }
    }

    /// The servers that the last answer came before: asked, and without a reply for at least the
    /// hedge.
    pub(super) fn overtaken(&self, now: Instant) -> Vec<usize> {
        let each = self.questions.iter();
        each.flat_map(|question| question.overtaken(now, self.times.hedge))
            .collect()
    }

    /// The time after which a server without a reply counts as failed.
    pub(super) const fn silence(&self) -> Duration {
        self.times.silence
    }

    fn begin(&mut self, now: Instant) {
        let question = || Question::new(&self.seats, now);
        self.questions = self.families.iter().map(|_| question()).collect();
        self.settled = None;
    }

    /// A silent server ends the walk: the next name's answer could be another host's.
    fn may_walk_past(&self, verdicts: &[Option<Verdict>]) -> bool {
        let silent = |verdict: &Option<Verdict>| {
            matches!(verdict, Some(Verdict::Failed(Failure::Silent, _)))
        };
        self.given.is_none() && !verdicts.iter().any(silent)
    }

    /// Puts the families together.
    fn judge(
        &mut self,
        verdicts: &[Option<Verdict>],
        now: Instant,
    ) -> (Option<Outcome>, Option<Instant>) {
        let found = merged(verdicts);
        let pending = verdicts.iter().any(Option::is_none);
        if !pending {
            return (Some(self.conclude(found, verdicts)), None);
        }
        if let Some(given) = self.given {
            let until = given + self.times.late_limit;
            return ((now >= until).then_some(Outcome::Over), Some(until));
        }
        // RFC 4074 §4.2: some servers say NXDOMAIN for AAAA of names that have A records.
        let no_name = |(verdict, &family): (&Option<Verdict>, &Family)| {
            family == Family::V4 && matches!(verdict, Some(Verdict::NoName(_)))
        };
        let is_missing = verdicts.iter().zip(&self.families).any(no_name);
        if found.is_none() && !is_missing {
            return (None, None);
        }
        let settled = *self.settled.get_or_insert(now);
        let until = settled + self.times.resolution_delay;
        if now < until {
            return (None, Some(until));
        }
        let Some(found) = found else {
            // RFC 8020: there is nothing of any type at this name.
            return (Some(Outcome::NotFound(negative_ttl(verdicts))), None);
        };
        self.given = Some(now);
        let outcome = Outcome::Found {
            found,
            complete: false,
            pending: true,
        };
        (Some(outcome), Some(now + self.times.late_limit))
    }

    /// Every family has its verdict.
    fn conclude(&self, found: Option<Found>, verdicts: &[Option<Verdict>]) -> Outcome {
        let mut failure: Option<(Failure, &LookupError)> = None;
        let mut no_name = false;
        for (verdict, family) in verdicts.iter().flatten().zip(&self.families) {
            match verdict {
                Verdict::Failed(kind, error) => {
                    // A timeout has more information than a reply that is no answer.
                    if failure.is_none_or(|(known, _)| *kind < known) {
                        failure = Some((*kind, error));
                    }
                }
                Verdict::NoName(_) => no_name |= *family == Family::V4,
                Verdict::Found(_) | Verdict::NoData(_) => {}
            }
        }
        match (found, failure) {
            // Once a part was given out, only the whole is news.
            (_, Some(_)) if self.given.is_some() => Outcome::Over,
            (Some(found), failure) => Outcome::Found {
                found,
                complete: failure.is_none(),
                pending: false,
            },
            (None, Some((_, error))) if !no_name => Outcome::Failed(error.clone()),
            (None, _) => Outcome::NotFound(negative_ttl(verdicts)),
        }
    }
}

/// The addresses of all families, with the shortest time to live.
fn merged(verdicts: &[Option<Verdict>]) -> Option<Found> {
    let mut whole: Option<Found> = None;
    for verdict in verdicts.iter().flatten() {
        if let Verdict::Found(found) = verdict {
            let whole = whole.get_or_insert_with(|| Found {
                ttl: found.ttl,
                ..Found::default()
            });
            whole.ips.extend(&found.ips);
            // The whole holds only for as long as each part does.
            whole.ttl = whole.ttl.min(found.ttl);
        }
    }
    whole
}

fn negative_ttl(verdicts: &[Option<Verdict>]) -> Option<Duration> {
    let each = verdicts
        .iter()
        .flatten()
        .filter_map(|verdict| match verdict {
            Verdict::NoName(ttl) | Verdict::NoData(ttl) => *ttl,
            _ => None,
        });
    each.min()
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    [a, b].into_iter().flatten().min()
}

/// The error of a question that no server replied to in time.
fn timed_out() -> LookupError {
    LookupError::new(LookupErrorKind::Timeout)
}
