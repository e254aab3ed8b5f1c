//! Whether the sequences are what they are said to be: long, and of every input.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::{Inputs, gate, pool, pool_steps, steps, total};

const SEQUENCES: usize = 300;

/// Plays as many sequences as `play` is called for, and gives the inputs of them all.
fn inputs(mut play: impl FnMut(&mut TestRunner) -> Inputs) -> Inputs {
    let mut runner = TestRunner::deterministic();
    let mut all = Inputs::default();
    for _ in 0..SEQUENCES {
        let inputs = play(&mut runner);
        assert!(inputs.total() >= 100, "{inputs:?}");
        for (input, times) in inputs.0 {
            *all.0.entry(input).or_default() += times;
        }
    }
    all
}

fn pick<S: Strategy>(strategy: &S, runner: &mut TestRunner) -> S::Value {
    let tree = strategy.new_tree(runner).expect("nothing is filtered");
    tree.current()
}

#[track_caller]
fn assert_all_occur(all: &Inputs, expected: &[&str]) {
    let names: Vec<_> = all.0.keys().copied().collect();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(names, expected, "every input, and only inputs");
    assert!(all.0.values().all(|&times| times >= 20), "{all:?}");
}

#[test]
fn every_input_of_a_gate_occurs() {
    let all = inputs(|runner| {
        let mut world = gate::World::new(3, 2);
        for step in pick(&steps(), runner) {
            world.step(step);
            world.check();
        }
        world.inputs
    });
    let expected = [
        "cancel",
        "demand",
        "drain",
        "poll",
        "reconfigure",
        "release",
        "tick",
        "time",
    ];
    assert_all_occur(&all, &expected);
}

#[test]
fn every_input_of_a_pool_occurs() {
    let all = inputs(|runner| {
        let mut world = pool::World::new(pick(&pool_steps::config(), runner));
        for step in pick(&steps(), runner) {
            let before = world.before();
            world.step(step, &before);
            world.after(&before);
        }
        world.inputs
    });
    let expected = [
        "cancel",
        "credit_changed",
        "demand",
        "drain",
        "expect_leases",
        "lease_ending",
        "lease_returned",
        "open_abandoned",
        "open_blocked",
        "open_failed",
        "opened",
        "poll",
        "reclaim_oldest_idle",
        "reconfigure",
        "resource_gone",
        "retire",
        "retire_idle_until",
        "stale lease_returned",
        "start_open",
        "tick",
        "time",
        "warm",
    ];
    assert_all_occur(&all, &expected);
}

#[test]
fn the_order_of_a_learning_pool_turns_often() {
    let mut runner = TestRunner::deterministic();
    let (mut turned, mut late) = (0, 0);
    for _ in 0..SEQUENCES {
        let mut world = pool::World::learning(pick(&pool_steps::config(), &mut runner));
        for step in pick(&steps(), &mut runner) {
            let before = world.before();
            world.step(step, &before);
            world.after(&before);
        }
        let totals = world.pool.stats().totals;
        turned += u64::from(totals.turns > 0);
        late += totals.late;
    }
    assert!(turned >= 30 && late >= 50, "{turned} turned, {late} late");
}

#[test]
fn every_input_of_a_total_occurs() {
    let all = inputs(|runner| {
        let mut world = total::World::new(3, 4, 2);
        for step in pick(&steps(), runner) {
            world.step(step);
        }
        world.inputs
    });
    let expected = [
        "acquire",
        "cancel",
        "demand",
        "gives_way",
        "lease_returned",
        "open_failed",
        "opened",
        "poll",
        "reclaimed",
        "release",
        "resource_gone",
        "tick",
        "withdraw",
    ];
    assert_all_occur(&all, &expected);
}
