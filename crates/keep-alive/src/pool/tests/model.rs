//! Random sequences against the real owner, from the service down to the sockets: calls at every stage
//! of which they are dropped, dials and peers that misbehave, caps that change, a clock that jumps.
//!
//! After each step the runtime comes to rest, and what must hold at rest is looked at from both ends:
//! at the sockets, the peers and the observer's events, and in the engine's own numbers.
//!
//! `PROPTEST_CASES` sets the number of sequences.

mod calls;
mod checks;
mod network;
mod peer;
mod reference;
mod runtimes;
mod seen;
mod world;

use std::time::Duration;

use proptest::prelude::*;

use self::network::{Dial, Speaks};
use self::peer::Kind;
use self::reference::Reference;
use self::world::{Setup, World};

/// Origins of a sequence.
const ORIGINS: usize = 3;

/// Runtimes of a sequence with several.
const RUNTIMES: usize = 2;

/// One step of a sequence. Numbers name one of those there are, counted round.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A call is made, and polled if it is started.
    Call {
        origin: usize,
        kind: Kind,
        starts: bool,
        on: usize,
    },
    /// A call that was made is polled.
    Start {
        call: usize,
        on: usize,
    },
    /// A call is dropped, whatever it does.
    Drop(usize),
    /// A body is read to its end.
    Read(usize),
    /// A peer goes on with what it holds.
    Release(usize),
    /// The next dial goes like this.
    Plan(Dial),
    /// The next connections speak this, where they may speak either.
    Speak {
        http2: bool,
    },
    Decide {
        dial: usize,
        connects: bool,
    },
    /// A peer closes a connection.
    PeerCloses(usize),
    CloseIdle,
    Retire {
        origin: usize,
        odd: bool,
    },
    Cap {
        origin: usize,
        cap: usize,
    },
    Warm {
        origin: usize,
        n: usize,
    },
    Sleep {
        millis: u64,
    },
    /// Of several runtimes.
    RuntimeEnds(usize),
}

/// The last step.
#[derive(Clone, Copy, Debug)]
enum End {
    /// All calls are dropped, and time passes.
    Forgotten,
    /// The pool is drained, then forgotten.
    Drained,
    /// All handles are dropped, while calls go on.
    Dropped,
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        3 => Just(Kind::Ok),
        6 => Just(Kind::Held),
        2 => Just(Kind::Half),
        1 => Just(Kind::Last),
        1 => Just(Kind::Lost),
    ]
}

fn dials() -> impl Strategy<Value = Dial> {
    prop_oneof![
        2 => Just(Dial::Fails),
        1 => Just(Dial::Hangs),
        1 => Just(Dial::Panics),
        3 => Just(Dial::Held),
        1 => Just(Dial::NoPort),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..ORIGINS, kinds(), prop::bool::weighted(0.85), 0..RUNTIMES)
            .prop_map(|(origin, kind, starts, on)| Step::Call { origin, kind, starts, on }),
        2 => (0..9_usize, 0..RUNTIMES).prop_map(|(call, on)| Step::Start { call, on }),
        4 => (0..9_usize).prop_map(Step::Drop),
        4 => (0..9_usize).prop_map(Step::Read),
        6 => (0..9_usize).prop_map(Step::Release),
        4 => dials().prop_map(Step::Plan),
        1 => any::<bool>().prop_map(|http2| Step::Speak { http2 }),
        1 => (0..RUNTIMES).prop_map(Step::RuntimeEnds),
        4 => (0..4_usize, prop::bool::weighted(0.7))
            .prop_map(|(dial, connects)| Step::Decide { dial, connects }),
        2 => (0..9_usize).prop_map(Step::PeerCloses),
        1 => Just(Step::CloseIdle),
        1 => (0..ORIGINS, any::<bool>()).prop_map(|(origin, odd)| Step::Retire { origin, odd }),
        1 => (0..ORIGINS, 1..4_usize).prop_map(|(origin, cap)| Step::Cap { origin, cap }),
        1 => (0..ORIGINS, 1..4_usize).prop_map(|(origin, n)| Step::Warm { origin, n }),
        2 => prop_oneof![Just(20), Just(200), Just(3_000), Just(31_000), Just(100_000)]
            .prop_map(|millis| Step::Sleep { millis }),
    ]
}

fn ends() -> impl Strategy<Value = End> {
    prop_oneof![
        2 => Just(End::Forgotten),
        1 => Just(End::Drained),
        1 => Just(End::Dropped),
    ]
}

fn run(setup: Setup, steps: &[Step], end: End) {
    let mut world = World::new(setup);
    for step in steps {
        world.step(*step);
    }
    world.end(end);
}

/// Runs beside the engine with a perfect owner, which does not take all steps.
fn run_beside(setup: Setup, steps: &[Step]) {
    let mut world = World::new(setup);
    let mut reference = Reference::new(&world);
    for step in steps {
        if reference.takes(*step, &world) {
            reference.step(*step, &world);
            world.step(*step);
            reference.advance(world.runtimes.now() - Duration::from_nanos(1));
            // What is due at this very moment may have begun, and not be done.
            while reference.next_due() == Some(world.runtimes.now()) {
                world.rest();
                reference.advance(world.runtimes.now() - Duration::from_nanos(1));
            }
            reference.advance(world.runtimes.now());
            if reference.is_undecided {
                break;
            }
            reference.check(&world);
        }
    }
    world.end(End::Forgotten);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_owner_keeps_its_promises_over_http1(
        cap in 1..4_usize,
        total in prop::option::of(1..4_usize),
        steps in prop::collection::vec(steps(), 1..40),
        end in ends(),
    ) {
        run(Setup { speaks: Speaks::Http1, runtimes: 1, ends: 0, cap, total }, &steps, end);
    }

    #[test]
    fn the_owner_does_as_a_perfect_one_does(
        speaks in prop_oneof![Just(Speaks::Http1), Just(Speaks::Http2), Just(Speaks::Either)],
        cap in 1..4_usize,
        total in prop::option::of(1..4_usize),
        steps in prop::collection::vec(steps(), 1..40),
    ) {
        run_beside(Setup { speaks, runtimes: 1, ends: 0, cap, total }, &steps);
    }

    #[test]
    fn the_owner_keeps_its_promises_over_http2(
        cap in 1..3_usize,
        total in prop::option::of(1..4_usize),
        steps in prop::collection::vec(steps(), 1..40),
        end in ends(),
    ) {
        run(Setup { speaks: Speaks::Http2, runtimes: 1, ends: 0, cap, total }, &steps, end);
    }

    #[test]
    fn the_owner_keeps_its_promises_on_several_runtimes(
        runtimes in 1..=RUNTIMES,
        cap in 1..4_usize,
        total in prop::option::of(1..4_usize),
        steps in prop::collection::vec(steps(), 1..40),
        end in ends(),
    ) {
        let ends = steps.iter().filter(|step| matches!(step, Step::RuntimeEnds(_))).count();
        run(Setup { speaks: Speaks::Either, runtimes, ends, cap, total }, &steps, end);
    }
}
