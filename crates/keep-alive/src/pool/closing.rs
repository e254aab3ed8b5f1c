//! The connections that are being closed while others wait for their places.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;
use tollgate_admission::ResourceId;

use crate::pool::shared::later;

/// The time within which the driver of a connection ends that is told to close: one turn of its task.
/// One that takes longer is on a runtime that is not driven, or is blocked.
const CLOSES_WITHIN: Duration = Duration::from_secs(1);

/// The connections of one origin that are told to close, under a total cap.
#[derive(Debug, Default)]
pub(crate) struct Closing {
    /// With the time until which each is expected to be gone: the first first.
    expected: VecDeque<(Instant, ResourceId)>,
    /// Those that are not gone in time, and whose places nobody counts on.
    overdue: Vec<ResourceId>,
}

impl Closing {
    pub(super) fn told(&mut self, resource: ResourceId, now: Instant) {
        self.expected
            .push_back((later(now, CLOSES_WITHIN), resource));
    }

    pub(super) fn gone(&mut self, resource: ResourceId) {
        self.expected.retain(|(_, one)| *one != resource);
        self.overdue.retain(|one| *one != resource);
    }

    /// Expects no more of those that should be gone at `now`.
    pub(super) fn look(&mut self, now: Instant) {
        while let Some((until, late)) = self.expected.front().copied()
            && until <= now
        {
            self.expected.pop_front();
            self.overdue.push(late);
        }
    }

    /// The time of the next look.
    pub(super) fn next(&self) -> Option<Instant> {
        self.expected.front().map(|(until, _)| *until)
    }

    /// The number of those that are not gone in time.
    pub(super) const fn overdue(&self) -> usize {
        self.overdue.len()
    }
}
