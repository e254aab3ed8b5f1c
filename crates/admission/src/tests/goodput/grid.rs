//! Loads drawn at random: callers, uses and patience of every kind.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{GateLine, Line, Load, PoolLine, simulate};
use crate::Discipline;

/// How many loads to draw: few in `cargo test`, 10,000 in the full run.
fn seeds() -> u32 {
    std::env::var("GOODPUT_SEEDS").map_or(12, |n| n.parse().expect("a number"))
}

fn load() -> impl Strategy<Value = Load> {
    let crowd = (1..33usize, 1..=120usize, 0..4usize, any::<bool>());
    let times = (5..200u64, prop::collection::vec(11..90u64, 1..4), 0..9u32);
    let kind = (any::<u64>(), any::<bool>(), any::<bool>());
    (crowd, times, kind).prop_map(|(crowd, times, kind)| {
        let (cap, tenths, patient, open) = crowd;
        let (hold, limits, jitter) = times;
        let (seed, told, drains) = kind;
        // Up to twelve callers for each lease, or up to twice the calls that can be answered.
        let callers = (cap * tenths).div_ceil(10);
        let per_second = cap as f64 * 1_000.0 / hold as f64;
        let limits: Vec<_> = limits
            .iter()
            .map(|l| Duration::from_millis(hold * l / 10))
            .collect();
        let longest = limits.iter().max().copied().unwrap_or_default();
        let lasts = longest * 4 + Duration::from_millis(hold * 40);
        Load {
            callers: if open { 0 } else { callers },
            patient: if open { 0 } else { callers * patient / 20 },
            rate: if open {
                per_second * tenths as f64 / 60.0
            } else {
                0.0
            },
            jitter: f64::from(jitter) / 10.0,
            limits,
            told,
            drains,
            seed,
            lasts,
            until: lasts,
            ..Load::closed(cap, callers, hold, 0, 0)
        }
    })
}

/// The answers in time under adaptive order and first come, first served.
fn both<L: Line>(load: &Load) -> [f64; 2] {
    [Discipline::Adaptive, Discipline::Fifo].map(|discipline| {
        let load = Load {
            discipline,
            ..load.clone()
        };
        simulate::<L>(&load).good as f64
    })
}

/// Adaptive against first come, first served: more goodput, or as much but for chance.
///
/// Where a limit is about as long as a use, which callers are served in time is chance as well. Over sixteen
/// runs it grows four times as large, and a loss sixteen times.
fn never_less<L: Line>(load: &Load) -> Result<(), TestCaseError> {
    let one = both::<L>(load);
    if is_less(load, one, 1.0) {
        let runs = (0..16).map(|run| {
            both::<L>(&Load {
                seed: load.seed.wrapping_add(run),
                ..load.clone()
            })
        });
        let sum = runs.fold([0.0; 2], |sum, run| [sum[0] + run[0], sum[1] + run[1]]);
        prop_assert!(
            !is_less(load, sum, 4.0),
            "{one:?}, in sixteen runs {sum:?} of {load:?}"
        );
    }
    Ok(())
}

/// Returns true if adaptive order serves fewer than first come, first served, and not by chance.
fn is_less(load: &Load, [adaptive, fifo]: [f64; 2], chance: f64) -> bool {
    // The peer's times differ from run to run: three standard deviations of their sum.
    let spread = 3.0 * load.jitter * 0.58 * (2.0 * fifo).sqrt();
    adaptive + chance * (2.0 + load.cap as f64) + 0.02 * fifo + spread < fifo
}

fn check<L: Line>() {
    let config = Config {
        cases: seeds(),
        failure_persistence: None,
        ..Config::default()
    };
    let result = TestRunner::new(config).run(&load(), |load| never_less::<L>(&load));
    result.unwrap_or_else(|failed| panic!("{failed}"));
}

#[test]
fn a_pool_never_has_less_goodput_than_fifo() {
    check::<PoolLine>();
}

#[test]
fn a_gate_never_has_less_goodput_than_fifo() {
    check::<GateLine>();
}
