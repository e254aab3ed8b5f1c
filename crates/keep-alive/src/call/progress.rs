//! How far a call that waits has come, for whoever gives it up.

use std::sync::{Mutex, MutexGuard};

use tokio::time::Instant;
use tollgate_core::Timings;
use tollgate_core::lock::lock;

use crate::call::attempt::Call;
use crate::pool::lease::Lease;

/// The progress of a call that has to wait. The waiting goes on inside a box, out of sight.
#[derive(Debug)]
pub(crate) struct Progress {
    // Guards a few words; nothing else happens under it.
    stage: Mutex<Stage>,
}

#[derive(Clone, Copy, Debug)]
struct Stage {
    timings: Timings,
    /// The time since which it waits for a lease; `None` while it has one.
    waits: Option<Instant>,
    nothing_sent: bool,
}

impl Progress {
    /// A call that begins its wait now.
    pub(crate) fn waiting(call: &Call) -> Self {
        Self {
            stage: Mutex::new(Stage::waiting(call)),
        }
    }

    /// It waits again: an attempt came to nothing.
    pub(crate) fn waits(&self, call: &Call) {
        *self.lock() = Stage::waiting(call);
    }

    /// The request is handed to a connection.
    pub(crate) fn sends(&self, call: &Call, lease: &Lease) {
        *self.lock() = Stage {
            timings: call.timings_on(lease),
            waits: None,
            nothing_sent: false,
        };
    }

    pub(crate) fn timings(&self) -> Timings {
        let Stage {
            mut timings, waits, ..
        } = *self.lock();
        // The wait under way is not in `timings` yet.
        timings.queued += waits.map_or_else(Default::default, |since| since.elapsed());
        timings
    }

    pub(crate) fn nothing_sent(&self) -> bool {
        self.lock().nothing_sent
    }

    fn lock(&self) -> MutexGuard<'_, Stage> {
        lock(&self.stage)
    }
}

impl Stage {
    fn waiting(call: &Call) -> Self {
        Self {
            timings: call.timings(),
            waits: Some(Instant::now()),
            nothing_sent: call.nothing_sent(),
        }
    }
}
