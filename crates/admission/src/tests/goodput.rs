//! Goodput under callers that leave (A13): a simulation of callers, queue and peer in which only the
//! queue is real. The peer works off what was sent whether its caller is still there or not.
//!
//! `cargo test` runs a few loads of the grid. The full run, 10,000 loads under both disciplines:
//! `GOODPUT_SEEDS=10000 cargo test -p tollgate-admission --release --lib goodput`.

mod call;
mod grid;
mod line;
mod table;
mod world;

use std::time::Duration;

pub(super) use line::{GateLine, Line, PoolLine};
pub(super) use world::simulate;

use crate::Discipline;

/// Callers, limits and a peer.
#[derive(Clone, Debug)]
pub(super) struct Load {
    /// Leases, and workers of the peer.
    pub(super) cap: usize,
    /// Callers in a closed loop.
    pub(super) callers: usize,
    /// Those of them without a limit.
    pub(super) patient: usize,
    /// Calls a second at random times, besides.
    pub(super) rate: f64,
    /// The peer's time for one answer, and by how much of itself it differs.
    pub(super) hold: Duration,
    pub(super) jitter: f64,
    /// A caller's limit is one of these.
    pub(super) limits: Vec<Duration>,
    /// Callers tell their limits to the queue.
    pub(super) told: bool,
    /// Answers that are due soon are taken in though their caller has left.
    pub(super) drains: bool,
    pub(super) discipline: Discipline,
    pub(super) lasts: Duration,
    /// Callers stop coming.
    pub(super) until: Duration,
    pub(super) seed: u64,
}

impl Load {
    pub(super) fn closed(cap: usize, callers: usize, hold: u64, limit: u64, secs: u64) -> Self {
        let lasts = Duration::from_secs(secs);
        Self {
            cap,
            callers,
            patient: 0,
            rate: 0.0,
            hold: Duration::from_millis(hold),
            jitter: 0.0,
            limits: vec![Duration::from_millis(limit)],
            told: false,
            drains: true,
            discipline: Discipline::Adaptive,
            lasts,
            until: lasts,
            seed: 1,
        }
    }
}

/// What came of a load.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// Answers that reached their callers.
    pub(super) good: usize,
    /// Those of the second generation of callers on.
    pub(super) later: usize,
    /// As many as the peer could have given in that time.
    pub(super) possible: f64,
    pub(super) opened: usize,
    /// Callers that left in flight.
    pub(super) died: usize,
    /// The longest that a caller without a limit took.
    pub(super) patient: Duration,
    pub(super) patient_refused: usize,
    /// From the end of the load to an empty queue.
    pub(super) recovered: Option<Duration>,
    pub(super) turns: u64,
}

impl Outcome {
    pub(super) fn ratio(&self) -> f64 {
        self.later as f64 / self.possible
    }
}
