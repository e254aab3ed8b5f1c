//! The time that a request has, as far as the queue has to know it.

use http::Extensions;
use tokio::time::Instant;
use tollgate_admission::Demand;
use tollgate_core::{Deadline, Limits};

/// The ends of a request's wait and of its exchange, which hold for all of its attempts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TimeLeft {
    wait_until: Option<Instant>,
    ends_at: Option<Instant>,
}

impl TimeLeft {
    /// Reads the limits of a request, and those of its origin for what the request leaves open. The
    /// clock is read only if there are any.
    #[inline]
    pub(crate) fn of(extensions: &Extensions, origin: Option<&Limits>) -> Self {
        let (own, deadline) = (extensions.get(), extensions.get());
        if own.is_none() && deadline.is_none() && origin.is_none() {
            return Self::default();
        }
        Self::read(own, deadline, origin)
    }

    #[inline(never)]
    fn read(own: Option<&Limits>, deadline: Option<&Deadline>, origin: Option<&Limits>) -> Self {
        // Once a call, not an attempt: a retry gets no time anew.
        let start = Instant::now();
        let own = own.copied().unwrap_or_default();
        let limits = origin.map_or(own, |origin| own.or(origin));
        let wait = own.acquire_timeout;
        let wait = wait.and_then(|limit| start.checked_add(limit));
        let deadline = deadline.map(|deadline| deadline.instant());
        Self {
            wait_until: wait.into_iter().chain(deadline).min(),
            ends_at: limits.answer_by(start),
        }
    }

    pub(crate) const fn demand(self) -> Demand {
        Demand::new()
            .hard_deadline(self.wait_until)
            .ends_at(self.ends_at)
    }
}
