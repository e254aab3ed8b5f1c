//! One call of the simulation, and what can happen to it.

use std::sync::{Arc, Mutex};
use std::task::Wake;
use std::time::Duration;

use crate::Ticket;

/// Numbers between 0 and 1 (splitmix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Happens {
    /// A caller of the closed loop, or of the open one, makes a call.
    Call(Option<usize>),
    /// A call's limit is over, or its wait may be.
    Limit(usize),
    Due(usize),
    /// The peer has finished with a call.
    Answer(usize),
    /// Nobody waits for this answer any longer.
    GiveUp(usize),
}

pub(super) enum Stage<L> {
    Waiting(Ticket),
    InFlight(L),
    /// Its caller has left, and its answer is still taken in.
    Draining(L),
    Over,
}

/// Notes which call was woken.
pub(super) struct Woken(pub(super) usize, pub(super) Arc<Mutex<Vec<usize>>>);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.1.lock().expect("no panic").push(self.0);
    }
}

pub(super) struct Call<L> {
    pub(super) caller: Option<usize>,
    pub(super) patient: bool,
    pub(super) born: Duration,
    pub(super) granted: Duration,
    pub(super) stage: Stage<L>,
}
