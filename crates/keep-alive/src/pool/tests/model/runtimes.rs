//! The runtimes of a sequence, each with a clock that stands still, driven in turns.

use std::time::Duration;

use tokio::runtime::{Builder, EnterGuard, Handle, Runtime};
use tokio::time::{Instant, advance, sleep_until};

/// As long as a runtime takes to come to rest: a paused clock moves only then.
pub(super) const REST: Duration = Duration::from_millis(1);

/// What one runtime does may wake another, and so on.
const ROUNDS: u32 = 6;

/// The longest time for which one runtime is driven and the others are not.
const TURN: Duration = Duration::from_secs(1);

pub(super) struct Runtimes {
    driven: Vec<Runtime>,
    /// Made with the others: a clock begins at the time of day, which goes on while theirs stand still.
    spare: Vec<Runtime>,
}

fn new() -> Runtime {
    let mut builder = Builder::new_current_thread();
    let builder = builder.enable_time().start_paused(true);
    builder.build().unwrap()
}

fn now_of(runtime: &Runtime) -> Instant {
    runtime.block_on(async { Instant::now() })
}

/// Moves a clock forward; what it times is late by that.
fn set(runtime: &Runtime, to: Instant) {
    let by = to.saturating_duration_since(now_of(runtime));
    if !by.is_zero() {
        runtime.block_on(async { advance(by).await });
    }
}

impl Runtimes {
    /// So many at once, of which so many end.
    pub(super) fn new(count: usize, ends: usize) -> Self {
        let ends = if count == 1 { 0 } else { ends };
        let mut driven: Vec<_> = (0..count + ends).map(|_| new()).collect();
        let latest = driven.iter().map(now_of).max().unwrap();
        for runtime in &driven {
            set(runtime, latest);
        }
        let spare = driven.split_off(count);
        Self { driven, spare }
    }

    pub(super) const fn len(&self) -> usize {
        self.driven.len()
    }

    pub(super) fn handle(&self, runtime: usize) -> &Handle {
        self.driven[runtime].handle()
    }

    /// In the context of one, whose clock shows the latest time first.
    pub(super) fn enter(&self, runtime: usize) -> EnterGuard<'_> {
        let driven = &self.driven[runtime];
        set(driven, self.now());
        driven.enter()
    }

    /// In the context of the one that was driven last, of which nothing runs for that.
    pub(super) fn enter_latest(&self) -> EnterGuard<'_> {
        let latest = self.driven.iter().max_by_key(|one| now_of(one)).unwrap();
        latest.enter()
    }

    /// The latest time that any of them shows.
    pub(super) fn now(&self) -> Instant {
        self.driven.iter().map(now_of).max().unwrap()
    }

    /// Drives all until nothing is left to be done without time; returns how much of it that took.
    pub(super) fn rest(&self) -> Duration {
        let before = self.now();
        let rounds = if self.len() == 1 { 1 } else { ROUNDS };
        for _ in 0..rounds {
            self.pass(REST);
        }
        self.now() - before
    }

    /// Drives one after the other, each for so long. None sees a time before that which another has seen:
    /// theirs are one clock outside of tests.
    fn pass(&self, time: Duration) {
        for runtime in &self.driven {
            let latest = self.now();
            set(runtime, latest);
            runtime.block_on(async { sleep_until(latest + time).await });
        }
    }

    /// Lets time pass for all.
    pub(super) fn sleep(&self, time: Duration) {
        let turn = if self.len() == 1 {
            time
        } else {
            TURN.max(time / 64)
        };
        let each = u32::try_from(self.len()).unwrap();
        let mut left = time;
        while !left.is_zero() {
            let now = left.min(turn);
            self.pass(now / each);
            left -= now;
        }
    }

    /// Ends one, and has another in its place, whose clock shows what the others' show.
    pub(super) fn replace(&mut self, runtime: usize) {
        let fresh = self.spare.pop().unwrap();
        set(&fresh, self.now());
        drop(std::mem::replace(&mut self.driven[runtime], fresh));
    }
}
