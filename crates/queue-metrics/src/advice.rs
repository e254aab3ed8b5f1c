//! How many connections an origin wants, from what it was asked for. See ADR 0003.

use std::time::Duration;

use crate::erlang::{float, places_for, share_waiting};

/// Fewer requests are too few: their variance is off by more than a tenth.
const MIN_REQUESTS: u64 = 1_000;

/// Fewer exchanges on either side do not show whether the upstream slows down under load.
const MIN_COMPARED: u64 = 100;

/// No origin is served by more at once: there are not as many ports. It bounds the work, too.
const MAX_LOAD: f64 = 65_536.0;

/// The factor by which exchanges may take longer where most connections are in use before that is
/// held against the upstream.
const SLOWED: f64 = 1.5;

/// The number of connections an origin needs, and the reason; made by
/// [`PoolMetrics::advise`](crate::PoolMetrics::advise).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Advice {
    /// With this many, one request in a hundred waits.
    pub connections: u64,
    /// The number compared with the limit.
    pub verdict: Verdict,
    /// The mean of how many requests are served at once if none has to wait, in erlangs: arrivals a
    /// second times the seconds that each holds a connection.
    pub offered_load: f64,
    /// The burstiness of arrivals: the variance of the number of requests in service at each
    /// arrival that finds room, over the mean. 1 if arrivals are independent of each other, 3 if
    /// they come in fives.
    pub burstiness: f64,
    /// The share of requests that wait with the limit there is; `None` without one.
    pub waiting_now: Option<f64>,
    /// The share of requests that wait with as many connections as are advised.
    pub waiting_then: f64,
}

impl Advice {
    /// The advice for a load that was measured elsewhere: `offered_load` and `burstiness` as in the
    /// fields of these names. It knows nothing of an upstream that slows down. `None` for a load that
    /// is none.
    ///
    /// ```
    /// # use tollgate_queue_metrics::{Advice, Verdict};
    /// let advice = Advice::for_load(5.0, 1.0, Some(8)).unwrap();
    /// assert_eq!((advice.connections, advice.verdict), (12, Verdict::Raise));
    /// ```
    pub fn for_load(offered_load: f64, burstiness: f64, limit: Option<u64>) -> Option<Self> {
        of_load(offered_load, burstiness.max(1.0), limit, 1, false)
    }
}

/// The comparison of an [`Advice`] with the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum Verdict {
    /// The limit is enough, or not known.
    Enough,
    /// The limit makes requests wait: raise it.
    Raise,
    /// The limit makes requests wait, and the upstream is slower the more connections are in use:
    /// more of them will not help. The advice is the limit.
    SlowUpstream,
}

/// The load of a span of time.
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
    /// Returns the difference from `before`. Two of the numbers add up others that are read one
    /// after the other, and may seem to fall.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            arrivals: self.arrivals.saturating_sub(before.arrivals),
            // Single counters, which may wrap: their difference is right all the same.
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

    /// Returns true if it is enough for advice: many requests, of which most that were granted have
    /// ended. An upstream that hangs gives no measure of how long a request takes.
    const fn say_enough(&self) -> bool {
        self.arrivals >= MIN_REQUESTS && self.uses >= MIN_COMPARED && 2 * self.uses >= self.granted
    }

    /// The mean of requests served at once if there were always room: how many come, times how long
    /// each takes. The limit changes neither.
    fn offered_load(&self, span: Duration) -> f64 {
        let each = float(self.use_nanos) / 1e9 / float(self.uses);
        float(self.arrivals) / span.as_secs_f64() * each
    }

    /// From those who found room alone: who waits meets the queue as well, which swings by itself.
    fn burstiness(&self) -> f64 {
        // Too few to show bursts: independent arrivals then, as Erlang's formula assumes.
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
        // Read later than the totals that they are part of, the busy ones may seem to be more than
        // all.
        let (calm, calm_nanos) = (
            self.uses.saturating_sub(self.busy),
            self.use_nanos.saturating_sub(self.busy_nanos),
        );
        let compared = calm >= MIN_COMPARED && self.busy >= MIN_COMPARED;
        let mean = |nanos, count| float(nanos) / float(count);
        compared && mean(self.busy_nanos, self.busy) > SLOWED * mean(calm_nanos, calm)
    }
}

/// Returns the advice for `totals`, the load of `span`; `None` if that is too little. A connection
/// carries `each` requests at once.
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
    of_load(load, burstiness, limit, each, totals.upstream_slows_down())
}

fn of_load(
    load: f64,
    burstiness: f64,
    limit: Option<u64>,
    each: u64,
    slows_down: bool,
) -> Option<Advice> {
    // NaN is outside as well, and the loop over places has an end.
    if !(0.0..=MAX_LOAD).contains(&load) || !burstiness.is_finite() {
        return None;
    }
    let waits =
        |connections: u64| share_waiting(load, burstiness, connections.saturating_mul(each));
    // Erlang's places are requests in service, of which a connection of HTTP/2 carries several.
    let mut connections = places_for(load, burstiness).div_ceil(each);
    let short = limit.is_some_and(|limit| limit < connections);
    let verdict = match limit {
        Some(limit) if short && slows_down => {
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

#[cfg(test)]
#[path = "advice_tests.rs"]
mod tests;
