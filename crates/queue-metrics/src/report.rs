//! The interval and the slices of reports to a recorder.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

/// The interval of reports, unless there is a reason for another.
///
/// Half of the 15 to 30 s that Prometheus usually scrapes at.
pub const REPORT_EVERY: Duration = Duration::from_secs(10);

/// The samples handed over before other tasks have their turn: well below a millisecond.
pub(crate) const SLICE: u64 = 10_000;

/// The slices of one report at most, so that it ends even if samples arrive as fast as they leave.
const MAX_SLICES: usize = 1_000;

/// Something with numbers to carry to the installed recorder.
///
/// Sources combine: a pair reports both, an `Arc` what is in it.
pub trait Report: Send + Sync + 'static {
    /// Sets gauges and counters, and describes the metrics to a recorder that is new.
    fn report_values(&self);

    /// Hands over a bounded number of a histogram's samples; true if there may be more.
    fn report_samples(&self) -> bool;

    /// The whole at once, on this thread.
    fn report(&self) {
        self.report_values();
        for _ in 0..MAX_SLICES {
            if !self.report_samples() {
                return;
            }
        }
    }
}

impl<R: Report + ?Sized> Report for Arc<R> {
    fn report_values(&self) {
        (**self).report_values();
    }

    fn report_samples(&self) -> bool {
        (**self).report_samples()
    }
}

impl<A: Report, B: Report> Report for (A, B) {
    fn report_values(&self) {
        self.0.report_values();
        self.1.report_values();
    }

    fn report_samples(&self) -> bool {
        // Both, also if the first has more: each source has a slice of its own.
        let (first, second) = (self.0.report_samples(), self.1.report_samples());
        first || second
    }
}

/// Reports now and then `every` so often, on a task of its own, until the [`Reporter`] is dropped.
///
/// Between slices of samples it yields, so a busy process feels no pause. An `every` below a
/// millisecond counts as one.
///
/// # Panics
///
/// Outside of a tokio runtime with a timer.
pub fn spawn_report(source: impl Report, every: Duration) -> Reporter {
    let source: Arc<dyn Report> = Arc::new(source);
    let task = tokio::spawn(report_for_ever(Arc::clone(&source), every));
    Reporter {
        task: Some(task),
        source,
    }
}

async fn report_for_ever(source: Arc<dyn Report>, every: Duration) {
    // An interval of zero panics.
    let mut ticks = interval(every.max(Duration::from_millis(1)));
    // Missed reports are not made up for: they would repeat the same numbers, and each would move
    // the peaks on by one.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        source.report_values();
        for _ in 0..MAX_SLICES {
            if !source.report_samples() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// A running report: dropping it stops it.
#[must_use = "dropping it stops the report; detach it to let it run"]
pub struct Reporter {
    task: Option<JoinHandle<()>>,
    source: Arc<dyn Report>,
}

impl Reporter {
    /// Lets the report run for as long as the runtime does.
    pub fn detach(mut self) {
        drop(self.task.take());
    }

    /// Stops after a last report, so that what happened since the one before it is not lost.
    pub fn stop(self) {
        // The drop that follows ends the task.
        self.source.report();
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            // Takes effect at an await: a slice that has begun is handed over to its end.
            task.abort();
        }
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter").finish_non_exhaustive()
    }
}
