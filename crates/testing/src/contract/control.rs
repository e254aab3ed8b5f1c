//! What scripts a probe and watches it.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tollgate_core::lock::lock;

use crate::board::Board;
use crate::deadline::within_real;

use super::act::{Act, Moment, Readiness};

/// The time that [`Control::becomes`] waits: less than a driven future, since its message has more.
const THROUGH: Duration = Duration::from_secs(2);

/// A probe's counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Calls so far.
    pub calls: usize,
    /// Futures of calls that exist and have not ended.
    pub in_flight: usize,
    /// The most of them at once.
    pub peak_in_flight: usize,
    /// Calls whose future was dropped before it ended.
    pub cancelled: usize,
}

type OnCall = Arc<dyn Fn(usize) -> Act + Send + Sync>;
type Hook = Arc<dyn Fn(Moment) + Send + Sync>;

struct Script {
    on_call: OnCall,
    readiness: Readiness,
    hook: Option<Hook>,
}

#[derive(Default)]
struct State {
    stats: Stats,
    misuses: Vec<String>,
}

/// The control of a probe, shared by its clones; made by [`Probe::control`](super::Probe::control).
#[derive(Clone)]
pub struct Control(Arc<Inner>);

struct Inner {
    // Guards the script alone; the script runs after it is released.
    script: Mutex<Script>,
    board: Board<State>,
}

impl Default for Control {
    fn default() -> Self {
        Self(Arc::new(Inner {
            script: Mutex::new(Script {
                on_call: Arc::new(|_| Act::answer()),
                readiness: Readiness::Now,
                hook: None,
            }),
            board: Board::default(),
        }))
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Control").field(&self.stats()).finish()
    }
}

impl Control {
    /// Scripts each call from now on, by its number from 0.
    pub fn on_call(&self, script: impl Fn(usize) -> Act + Send + Sync + 'static) {
        let old = self.scripted(|now| std::mem::replace(&mut now.on_call, Arc::new(script)));
        // With the lock open, here and below: a script may own what is under test, and run its
        // drop.
        drop(old);
    }

    /// Sets the result of `poll_ready` from now on, for callers that do not wait yet.
    pub fn ready(&self, readiness: Readiness) {
        let old = self.scripted(|now| std::mem::replace(&mut now.readiness, readiness));
        drop(old);
    }

    /// Runs `hook` in each [`Moment`] from now on: for calling back into the layer above.
    pub fn hook(&self, hook: impl Fn(Moment) + Send + Sync + 'static) {
        let old = self.scripted(|now| now.hook.replace(Arc::new(hook)));
        drop(old);
    }

    /// Runs no hook any more.
    pub fn unhook(&self) {
        let old = self.scripted(|now| now.hook.take());
        drop(old);
    }

    /// The counters now.
    pub fn stats(&self) -> Stats {
        self.0.board.read(|state| state.stats)
    }

    /// Returns true if `holds` becomes true of the counters within 2 s of real time.
    pub async fn becomes(&self, mut holds: impl FnMut(&Stats) -> bool) -> bool {
        let reached = self.0.board.take(|state| holds(&state.stats).then_some(()));
        within_real(THROUGH, reached).await.is_some()
    }

    /// Fails the test if the probe was used against Tower's contract: called without being ready,
    /// or polled after its end.
    ///
    /// # Panics
    ///
    /// Then; the guard reports what was done.
    #[track_caller]
    pub fn assert_used_well(&self) {
        let misuses = self.0.board.read(|state| state.misuses.clone());
        assert!(misuses.is_empty(), "the inner service was {misuses:?}");
    }

    pub(super) fn readiness(&self) -> Readiness {
        self.scripted(|now| now.readiness.clone())
    }

    pub(super) fn called(&self) -> Act {
        let nth = self.0.board.update(|state| {
            state.stats.calls += 1;
            state.stats.calls - 1
        });
        let on_call = self.scripted(|now| Arc::clone(&now.on_call));
        on_call(nth)
    }

    pub(super) fn begin(&self) -> InFlight {
        self.0.board.update(|state| {
            let stats = &mut state.stats;
            stats.in_flight += 1;
            stats.peak_in_flight = stats.peak_in_flight.max(stats.in_flight);
        });
        InFlight {
            control: self.clone(),
            cancelled: true,
        }
    }

    pub(super) fn pass(&self, moment: Moment) {
        if let Some(hook) = self.scripted(|now| now.hook.clone()) {
            hook(moment);
        }
    }

    pub(super) fn misused(&self, how: String) {
        self.0.board.update(|state| state.misuses.push(how));
    }

    fn scripted<R>(&self, with: impl FnOnce(&mut Script) -> R) -> R {
        with(&mut lock(&self.0.script))
    }
}

/// Counts a call as in flight while it exists.
pub(super) struct InFlight {
    control: Control,
    cancelled: bool,
}

impl InFlight {
    pub(super) fn end(mut self) {
        self.cancelled = false;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.control.0.board.update(|state| {
            state.stats.in_flight -= 1;
            state.stats.cancelled += usize::from(self.cancelled);
        });
    }
}
