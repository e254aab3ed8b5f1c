//! The loads that were measured against a real peer.

use std::time::Duration;

use super::{GateLine, Line, Load, Outcome, PoolLine, simulate};
use crate::Discipline;

fn rows() -> Vec<(&'static str, Load)> {
    let jittered = Load {
        jitter: 0.6,
        ..Load::closed(32, 400, 50, 220, 4)
    };
    let open = Load {
        rate: 470.0,
        ..Load::closed(128, 0, 300, 800, 8)
    };
    let mixed = Load {
        limits: [150, 220, 220, 400, 1_500]
            .map(Duration::from_millis)
            .into(),
        ..Load::closed(32, 400, 50, 220, 4)
    };
    let patient = |load: Load| Load {
        patient: load.callers / 10,
        ..load
    };
    vec![
        ("4 of 40", Load::closed(4, 40, 300, 800, 8)),
        ("16 of 64", Load::closed(16, 64, 100, 350, 6)),
        ("32 of 400", Load::closed(32, 400, 50, 220, 4)),
        ("128 of 1,000", Load::closed(128, 1_000, 300, 800, 8)),
        ("barely", Load::closed(32, 400, 50, 70, 4)),
        ("jittered", jittered),
        ("open", open),
        ("mixed", mixed),
        (
            "4 of 40, patient",
            patient(Load::closed(4, 40, 300, 800, 8)),
        ),
        (
            "32 of 400, patient",
            patient(Load::closed(32, 400, 50, 220, 4)),
        ),
        (
            "128 of 1,000, patient",
            patient(Load::closed(128, 1_000, 300, 800, 8)),
        ),
    ]
}

/// The goodput asked for with limits told; what is possible is known but for the spread of the peer's
/// times, and a limit is kept by a typical one.
fn least(load: &Load) -> f64 {
    if load.jitter > 0.0 { 0.96 } else { 0.98 }
}

fn play<L: Line>(name: &str, load: &Load) -> Outcome {
    let outcome = simulate::<L>(load);
    println!(
        "{name:24} {:5.2} opened {:5} died {:5} patient {:?} ({} refused) turns {}",
        outcome.ratio(),
        outcome.opened,
        outcome.died,
        outcome.patient,
        outcome.patient_refused,
        outcome.turns
    );
    outcome
}

#[test]
fn first_come_first_served_collapses() {
    for (name, load) in &rows()[..6] {
        let fifo = Load {
            discipline: Discipline::Fifo,
            ..load.clone()
        };
        assert!(play::<GateLine>(name, &fifo).ratio() < 0.1, "{name}");
    }
}

#[test]
fn goodput_needs_no_limit_to_be_told() {
    for (name, load) in rows() {
        let outcome = play::<PoolLine>(name, &load);
        assert!(outcome.ratio() >= 0.95, "{name}: {outcome:?}");
        assert!(outcome.opened <= 2 * load.cap, "{name}: {outcome:?}");
        assert!(
            outcome.patient <= Duration::from_secs(3),
            "{name}: {outcome:?}"
        );
        assert_eq!(outcome.patient_refused, 0, "{name}");
    }
}

#[test]
fn goodput_is_all_but_whole_with_limits_told() {
    for (name, load) in rows() {
        let told = Load { told: true, ..load };
        let outcome = play::<PoolLine>(name, &told);
        assert!(outcome.ratio() >= least(&told), "{name}: {outcome:?}");
        assert!(
            outcome.opened <= told.cap + told.cap.div_ceil(10),
            "{name}: {outcome:?}"
        );
        assert!(
            outcome.patient <= Duration::from_secs(3),
            "{name}: {outcome:?}"
        );
        assert_eq!(outcome.patient_refused, 0, "{name}");
    }
}

#[test]
fn a_gate_over_a_foreign_client_keeps_goodput() {
    for (name, load) in rows() {
        let outcome = play::<GateLine>(name, &load);
        assert!(outcome.ratio() >= 0.95, "{name}: {outcome:?}");
        let told = Load { told: true, ..load };
        let outcome = play::<GateLine>(name, &told);
        assert!(outcome.ratio() >= least(&told), "{name}: {outcome:?}");
        let churn = if told.jitter > 0.0 { told.cap * 3 } else { 0 };
        assert!(
            outcome.opened <= told.cap + told.cap.div_ceil(10) + churn,
            "{name}: {outcome:?}"
        );
    }
}

#[test]
fn the_queue_empties_within_a_second_of_overload() {
    for (name, load) in rows() {
        for told in [false, true] {
            let load = Load {
                lasts: load.lasts + Duration::from_secs(3),
                told,
                patient: 0,
                limits: load
                    .limits
                    .iter()
                    .copied()
                    .filter(|l| l.as_millis() <= 1_000)
                    .collect(),
                ..load.clone()
            };
            let outcome = play::<PoolLine>(name, &load);
            let recovered = outcome.recovered.expect("the queue empties");
            assert!(recovered <= Duration::from_secs(1), "{name}: {outcome:?}");
        }
    }
}
