//! What is counted of one service, and the two guards that count it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::counters::{Level, Queue, Tally};
use crate::histogram::Histogram;

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// With an answer, whatever its status, and its body to the end.
    Ok,
    /// With an error of the service, or of the body.
    Error,
    /// Its caller went away: while it waited, before the answer, or in the middle of the body.
    Cancelled,
}

pub(crate) const OUTCOMES: [&str; 3] = ["ok", "error", "cancelled"];

#[derive(Debug)]
pub(crate) struct ServiceSeries {
    pub(crate) name: Arc<str>,
    pub(crate) queued: Queue,
    pub(crate) in_flight: Level,
    pub(crate) outcomes: Tally<{ OUTCOMES.len() }>,
    pub(crate) waits: Histogram,
    pub(crate) durations: Histogram,
}

impl ServiceSeries {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            queued: Queue::default(),
            in_flight: Level::default(),
            outcomes: Tally::default(),
            waits: Histogram::of_waits(),
            durations: Histogram::of_waits(),
        }
    }
}

/// A caller that waits in `poll_ready`. Dropping it means that the caller went away.
#[derive(Debug)]
pub(crate) struct Waiting {
    series: Arc<ServiceSeries>,
    since: Instant,
    /// Taken when the wait ends in something else than the caller's leaving.
    gone: bool,
}

impl Waiting {
    pub(crate) fn start(series: &Arc<ServiceSeries>) -> Self {
        series.queued.enter();
        Self {
            series: Arc::clone(series),
            since: Instant::now(),
            gone: true,
        }
    }

    /// The service is ready: how long that took.
    pub(crate) fn ready(mut self) -> Duration {
        self.gone = false;
        // Not recorded yet: the call may wait below as well, and both are one wait.
        self.since.elapsed()
    }

    /// The service has failed. The caller counts the error.
    pub(crate) fn failed(mut self) {
        self.gone = false;
        self.series.waits.record(self.since.elapsed());
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.series.queued.leave();
        if self.gone {
            self.series.waits.record(self.since.elapsed());
            self.series.outcomes.add(Outcome::Cancelled as usize);
        }
    }
}

/// A request in flight, from before the service gets it until this is ended or dropped.
///
/// Dropping it means that the caller went away.
#[derive(Debug)]
pub struct InFlight {
    series: Arc<ServiceSeries>,
    since: Instant,
    /// The wait so far, until it is recorded.
    waited: Option<Duration>,
    outcome: Outcome,
}

impl InFlight {
    pub(crate) fn start(series: &Arc<ServiceSeries>, waited: Duration) -> Self {
        series.in_flight.rise();
        Self {
            series: Arc::clone(series),
            since: Instant::now(),
            waited: Some(waited),
            outcome: Outcome::Cancelled,
        }
    }

    /// Counts a wait that the layers below report.
    pub(crate) fn waited_below(&mut self, queued: Duration) {
        if let Some(waited) = &mut self.waited {
            *waited = waited.saturating_add(queued);
        }
    }

    /// The answer is there: nothing waits any more.
    pub(crate) fn answered(&mut self) {
        if let Some(waited) = self.waited.take() {
            self.series.waits.record(waited);
        }
    }

    /// The request has ended.
    pub fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        // First: a request that ends without an answer has waited all the same.
        self.answered();
        self.series.in_flight.fall();
        self.series.durations.record(self.since.elapsed());
        self.series.outcomes.add(self.outcome as usize);
    }
}
