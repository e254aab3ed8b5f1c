//! Goodput of callers that give up, whether their limit is known to the pool or not (A13).

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod ceilings;
mod drained;
mod load;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use load::{Load, Outcome, play};

/// The loads that were measured against a real peer, shortened to ten exchanges or more of each
/// connection after the first generation of callers.
const LOADS: [Load; 5] = [
    Load::new(4, 40, 300, 800, 7_120),
    Load::new(16, 64, 100, 350, 2_470),
    Load::new(32, 400, 50, 220, 1_790),
    Load::new(32, 400, 50, 70, 2_140),
    Load::new(128, 1_000, 300, 800, 3_220),
];

const PATIENCE: Duration = Duration::from_secs(3);
const RECOVERY: Duration = Duration::from_secs(1);

impl Load {
    /// A thousand callers take seconds to play.
    const fn is_quick(&self) -> bool {
        self.callers < 1_000
    }

    fn told(self) -> Self {
        Self { told: true, ..self }
    }

    fn http2(self) -> Self {
        Self {
            http2: true,
            ..self
        }
    }

    /// A tenth of the callers does not give up.
    fn with_patient(self) -> Self {
        Self {
            patient: self.callers / 10,
            ..self
        }
    }
}

#[track_caller]
fn assert_told_nothing(load: Load, outcome: &Outcome) {
    assert!(outcome.ratio >= 0.95, "{load:?}: {outcome:#?}");
    assert!(
        outcome.stats.opened <= 2 * u64::from(load.cap),
        "{load:?}: two generations of connections, not {outcome:#?}"
    );
}

#[track_caller]
fn assert_told(load: Load, outcome: &Outcome) {
    assert!(outcome.ratio >= 0.98, "{load:?}: {outcome:#?}");
    // A tick of the clock decides now and then whether an answer that is just in time is.
    let most = u64::from(load.cap + load.cap.div_ceil(10));
    assert!(
        outcome.stats.opened <= most,
        "{load:?}: the cap and a tenth, not {outcome:#?}"
    );
}

#[tokio::test(start_paused = true)]
async fn callers_that_give_up_keep_the_goodput() {
    for load in LOADS {
        let outcome = play(load).await;
        assert_told_nothing(load, &outcome);
        assert!(outcome.recovered <= RECOVERY, "{load:?}: {outcome:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn cancelled_streams_keep_the_goodput() {
    for load in LOADS.map(Load::http2).into_iter().filter(Load::is_quick) {
        let outcome = play(load).await;
        assert_told_nothing(load, &outcome);
        assert!(outcome.recovered <= RECOVERY, "{load:?}: {outcome:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_patient_tenth_is_served_within_three_seconds() {
    for load in LOADS.map(Load::with_patient) {
        let outcome = play(load).await;
        assert_told_nothing(load, &outcome);
        assert!(outcome.patient <= PATIENCE, "{load:?}: {outcome:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_known_timeout_keeps_goodput_and_connections() {
    for load in LOADS.map(Load::told) {
        let others = [load.http2(), load.with_patient()].into_iter();
        for load in std::iter::once(load).chain(others.filter(Load::is_quick)) {
            let outcome = play(load).await;
            assert_told(load, &outcome);
            assert!(outcome.patient <= PATIENCE, "{load:?}: {outcome:#?}");
            assert!(
                load.patient > 0 || outcome.recovered <= RECOVERY,
                "{load:?}: {outcome:#?}"
            );
        }
    }
}
