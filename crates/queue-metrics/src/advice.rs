//! How many connections an origin wants, from what it was asked for. See ADR 0003.

use std::time::Duration;

/// The share of requests that may wait where the advice is followed: one in a hundred.
const MAY_WAIT: f64 = 0.01;

/// Fewer requests say too little: their variance is off by more than a tenth.
const MIN_REQUESTS: u64 = 1_000;

/// Fewer exchanges on either side say too little of whether the upstream slows down under load.
const MIN_COMPARED: u64 = 100;

/// No origin is served by more at once: there are not as many ports. It bounds the work, too.
const MAX_LOAD: f64 = 65_536.0;

/// A share of requests that is none: it ends the work for limits that are as good as none.
const NOBODY: f64 = 1e-12;

/// How much longer exchanges may take where most connections are in use before that is held against
/// the upstream.
const SLOWED: f64 = 1.5;

/// How many connections an origin wants, and why; made by
/// [`PoolMetrics::advise`](crate::PoolMetrics::advise).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Advice {
    /// With this many, one request in a hundred waits.
    pub connections: u64,
    /// What that is beside the limit there is.
    pub verdict: Verdict,
    /// The mean of how many requests are served at once if none has to wait, in erlangs: arrivals a
    /// second times the seconds that each holds a connection.
    pub offered_load: f64,
    /// How bursty arrivals are: the variance of how many requests are in service when one comes that
    /// finds room, over their mean. 1 if they come independently of each other, 3 if they come in
    /// fives.
    pub burstiness: f64,
    /// The share of requests that wait with the limit there is; `None` without one.
    pub waiting_now: Option<f64>,
    /// The share of requests that wait with as many connections as are advised.
    pub waiting_then: f64,
}

/// What an [`Advice`] says beside the limit there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum Verdict {
    /// The limit is enough, or nobody told it.
    Enough,
    /// The limit makes requests wait: raise it.
    Raise,
    /// The limit makes requests wait, and the upstream is slower the more connections are in use:
    /// more of them will not help. The advice is the limit.
    SlowUpstream,
}

/// What happened in a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Requests that came: served, waiting, or refused for want of room.
    pub(crate) arrivals: u64,
    /// Those of them that found room, how many others each of them met in service, and the squares
    /// of that.
    pub(crate) roomy: u64,
    pub(crate) met: u64,
    pub(crate) met_squared: u64,
    /// Requests that got a lease.
    pub(crate) granted: u64,
    /// Exchanges that ended and how long they took, in nanoseconds.
    pub(crate) uses: u64,
    pub(crate) use_nanos: u64,
    /// Those of them that ended while more than half of the connections were in use.
    pub(crate) busy: u64,
    pub(crate) busy_nanos: u64,
}

impl Totals {
    /// What came since `before`. Two of the numbers add up others that are read one after the other,
    /// and may seem to fall.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            arrivals: self.arrivals.saturating_sub(before.arrivals),
            roomy: self.roomy.wrapping_sub(before.roomy),
            met: self.met.wrapping_sub(before.met),
            met_squared: self.met_squared.wrapping_sub(before.met_squared),
            granted: self.granted.saturating_sub(before.granted),
            uses: self.uses.wrapping_sub(before.uses),
            use_nanos: self.use_nanos.wrapping_sub(before.use_nanos),
            busy: self.busy.wrapping_sub(before.busy),
            busy_nanos: self.busy_nanos.wrapping_sub(before.busy_nanos),
        }
    }

    /// Whether it is enough to go by: many requests, of which most that were taken up have ended. An
    /// upstream that hangs says nothing of how long a request takes.
    const fn say_enough(&self) -> bool {
        self.arrivals >= MIN_REQUESTS && self.uses >= MIN_COMPARED && 2 * self.uses >= self.granted
    }

    /// The mean of requests served at once if there were always room: how many come, times how long
    /// each takes. The limit has no say in either.
    fn offered_load(&self, span: Duration) -> f64 {
        let each = float(self.use_nanos) / 1e9 / float(self.uses);
        float(self.arrivals) / span.as_secs_f64() * each
    }

    /// From those who found room alone: who waits meets the queue as well, which swings by itself.
    fn burstiness(&self) -> f64 {
        if self.roomy < MIN_COMPARED {
            return 1.0;
        }
        let roomy = float(self.roomy);
        let mean = float(self.met) / roomy;
        let variance = float(self.met_squared) / roomy - mean * mean;
        // Below 1 arrivals are more regular than chance, which is nothing to rely on.
        if mean > 0.0 {
            (variance / mean).max(1.0)
        } else {
            1.0
        }
    }

    fn upstream_slows_down(&self) -> bool {
        let (calm, calm_nanos) = (
            self.uses.saturating_sub(self.busy),
            self.use_nanos.saturating_sub(self.busy_nanos),
        );
        let compared = calm >= MIN_COMPARED && self.busy >= MIN_COMPARED;
        let mean = |nanos, count| float(nanos) / float(count);
        compared && mean(self.busy_nanos, self.busy) > SLOWED * mean(calm_nanos, calm)
    }
}

/// What to say of `totals`, which came in `span`; `None` if that is too little to go by. A
/// connection carries `each` requests at once.
pub(crate) fn advise(
    totals: &Totals,
    span: Duration,
    limit: Option<u64>,
    each: u64,
) -> Option<Advice> {
    if span.is_zero() || !totals.say_enough() {
        return None;
    }
    let (load, burstiness) = (totals.offered_load(span), totals.burstiness());
    if load > MAX_LOAD {
        return None;
    }
    let waits =
        |connections: u64| share_waiting(load, burstiness, connections.saturating_mul(each));
    let mut connections = places_for(load, burstiness).div_ceil(each);
    let short = limit.is_some_and(|limit| limit < connections);
    let verdict = match limit {
        Some(limit) if short && totals.upstream_slows_down() => {
            connections = limit;
            Verdict::SlowUpstream
        }
        _ if short => Verdict::Raise,
        _ => Verdict::Enough,
    };
    Some(Advice {
        connections,
        verdict,
        offered_load: load,
        burstiness,
        waiting_now: limit.map(waits),
        waiting_then: waits(connections),
    })
}

/// As many places as let one request in a hundred wait: those that Erlang's formula wants above the
/// load, stretched by the square root of the burstiness.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive, and far below 2^52"
)]
fn places_for(load: f64, burstiness: f64) -> u64 {
    let mut places = 0;
    let mut blocked = 1.0;
    loop {
        places += 1;
        blocked = next_blocked(load, places, blocked);
        if erlang_c(load, float(places), blocked) <= MAY_WAIT {
            let margin = float(places) - load;
            return (load + margin * burstiness.sqrt()).ceil() as u64;
        }
    }
}

/// The share of requests that wait for one of `places`: that of Erlang's formula for independent
/// arrivals, with the margin above the load shrunk as [`places_for`] stretches it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive, and at most `places`"
)]
fn share_waiting(load: f64, burstiness: f64, places: u64) -> f64 {
    let margin = float(places) - load;
    if margin <= 0.0 {
        return 1.0;
    }
    let places = (load + margin / burstiness.sqrt()).floor().max(1.0);
    let mut blocked = 1.0;
    for place in 1..=places as u64 {
        blocked = next_blocked(load, place, blocked);
        // It only falls, and a limit may be as good as none.
        if blocked < NOBODY {
            return 0.0;
        }
    }
    erlang_c(load, places, blocked)
}

/// Erlang's first formula for one place more.
fn next_blocked(load: f64, places: u64, blocked: f64) -> f64 {
    load * blocked / (float(places) + load * blocked)
}

/// Erlang's second formula: who is not blocked but waits.
fn erlang_c(load: f64, places: f64, blocked: f64) -> f64 {
    if places <= load {
        return 1.0;
    }
    blocked / (1.0 - load / places * (1.0 - blocked))
}

#[expect(clippy::cast_precision_loss, reason = "a statistic")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
#[path = "advice_tests.rs"]
mod tests;
