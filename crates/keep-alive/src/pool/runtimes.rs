//! The runtimes on which an origin's dials may run.

use tokio::runtime::{Handle, Id};
use tokio::time::Instant;

/// Of so many runtimes an origin remembers that requests waited on them: a process with more at once
/// has them come and go, and the latest is the one that is driven.
const MOST: usize = 8;

/// The runtimes whose requests wait for this origin, or waited: the latest seen alive first.
#[derive(Debug, Default)]
pub(crate) struct Runtimes {
    known: Vec<Handle>,
    /// The dials in progress: no more than may be at once.
    dials: Vec<Dial>,
    begun: u64,
}

/// Names a dial of one origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DialId(u64);

/// A dial in progress.
#[derive(Debug)]
struct Dial {
    id: DialId,
    runtime: Id,
    /// The time at which it has ended by its own timer, if its runtime is driven.
    until: Instant,
}

impl Runtimes {
    /// A request is being polled on `runtime`, which is therefore driven.
    #[inline]
    pub(crate) fn seen(&mut self, runtime: &Handle) {
        // Nearly always the first already: then one comparison is all.
        if self
            .known
            .first()
            .is_none_or(|first| first.id() != runtime.id())
        {
            self.move_up(runtime);
        }
    }

    #[cold]
    fn move_up(&mut self, runtime: &Handle) {
        self.known.retain(|known| known.id() != runtime.id());
        // The oldest goes: it is the one that most likely is not driven any more.
        self.known.truncate(MOST - 1);
        self.known.insert(0, runtime.clone());
    }

    /// The runtime for the next dial; `None` until a request is polled on one.
    pub(crate) fn pick(&self) -> Option<&Handle> {
        self.known.first()
    }

    /// The known runtimes but for the current one.
    pub(crate) fn others(&self) -> Vec<Handle> {
        let current = Handle::try_current().ok().map(|runtime| runtime.id());
        let others = self.known.iter();
        let others = others.filter(|known| Some(known.id()) != current);
        others.cloned().collect()
    }

    /// A dial was lost with its runtime, where none is to be started any more.
    pub(crate) fn lost(&mut self, runtime: Id) {
        self.known.retain(|known| known.id() != runtime);
    }

    /// Notes a dial that begins on `runtime` and has until `until`; its name.
    pub(crate) fn dial_started(&mut self, runtime: Id, until: Instant) -> DialId {
        self.begun += 1;
        let id = DialId(self.begun);
        self.dials.push(Dial { id, runtime, until });
        id
    }

    /// A dial has until `until`: its connector has a budget of its own.
    pub(crate) fn dial_extended(&mut self, id: DialId, until: Instant) {
        if let Some(dial) = self.dials.iter_mut().find(|dial| dial.id == id) {
            dial.until = dial.until.max(until);
        }
    }

    /// A dial has ended; `false` if it was given up before.
    pub(crate) fn dial_ended(&mut self, id: DialId) -> bool {
        let known = self.dials.iter().position(|dial| dial.id == id);
        if let Some(at) = known {
            self.dials.swap_remove(at);
        }
        known.is_some()
    }

    /// Gives up the dials that should have ended by themselves: their runtime is not driven. Returns
    /// how many.
    pub(crate) fn give_up_overdue(&mut self, now: Instant) -> usize {
        let before = self.dials.len();
        self.dials.retain(|dial| dial.until > now);
        before - self.dials.len()
    }

    /// Returns the time at which the first dial in progress is overdue.
    pub(crate) fn next_overdue(&self) -> Option<Instant> {
        self.dials.iter().map(|dial| dial.until).min()
    }

    /// Returns true if a dial is in progress on `runtime`.
    pub(crate) fn dials_on(&self, runtime: Id) -> bool {
        self.dials.iter().any(|dial| dial.runtime == runtime)
    }
}
