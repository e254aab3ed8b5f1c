//! The whole answer, for those who were given a part of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::group::Group;

/// Sends the whole answer to those who were given a part. Dropped without sending if none came.
pub(crate) type Tell = watch::Sender<Option<Arc<Group>>>;

/// An answer of which one family was out when it was given.
#[derive(Clone, Debug)]
pub(crate) struct Awaited {
    whole: watch::Receiver<Option<Arc<Group>>>,
    /// The time at which the first family was there.
    since: Instant,
}

impl Awaited {
    pub(crate) fn new(waited: Duration, now: Instant) -> (Tell, Self) {
        let (tell, whole) = watch::channel(None);
        // The clock may be younger than the wait; then none of it is counted.
        let since = now.checked_sub(waited).unwrap_or(now);
        (tell, Self { whole, since })
    }

    /// Returns true if the wait ended with nothing.
    pub(crate) fn is_over(&self) -> bool {
        // Closed alone is not over: a sender that has sent is gone as well.
        self.whole.has_changed().is_err() && self.whole.borrow().is_none()
    }

    /// The time that the rest has been waited for.
    pub(crate) fn waited(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// The whole answer, if it comes.
    pub(crate) async fn whole(mut self) -> Option<Arc<Group>> {
        let whole = self.whole.wait_for(Option::is_some).await.ok()?;
        whole.clone()
    }
}
