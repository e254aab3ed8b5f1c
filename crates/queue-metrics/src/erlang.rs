//! Erlang's formulas: how many places a load wants, and the share of requests that wait for one.

/// The share of requests that may wait where the advice is followed: one in a hundred.
pub(crate) const MAY_WAIT: f64 = 0.01;

/// A share of requests that is none: it ends the work for limits that are as good as none.
const NOBODY: f64 = 1e-12;

/// As many places as let one request in a hundred wait: those that Erlang's formula wants above the
/// load, stretched by the square root of the burstiness.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive, and far below 2^52"
)]
pub(crate) fn places_for(load: f64, burstiness: f64) -> u64 {
    let mut places = 0;
    let mut blocked = 1.0;
    loop {
        // It ends: the load is bounded, and the share that waits falls with each place above it.
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
pub(crate) fn share_waiting(load: f64, burstiness: f64, places: u64) -> f64 {
    let margin = float(places) - load;
    // No steady state: requests come faster than they are served, and the queue never ends.
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
    // By recursion: the powers and factorials of the closed form overflow at a load of some
    // hundreds.
    load * blocked / (float(places) + load * blocked)
}

/// Erlang's second formula: who is not blocked but waits.
fn erlang_c(load: f64, places: f64, blocked: f64) -> f64 {
    // Outside of the formula's range, where the share would be more than one.
    if places <= load {
        return 1.0;
    }
    blocked / (1.0 - load / places * (1.0 - blocked))
}

#[expect(clippy::cast_precision_loss, reason = "a statistic")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}
