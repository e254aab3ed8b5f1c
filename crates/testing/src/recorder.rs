//! An observer that records.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tollgate_core::lock::lock;
use tollgate_core::{CloseReason, Event, Observer, RefuseReason};

/// An [`Observer`] that records a value for each event of a test's choice.
///
/// ```
/// use tollgate_testing::{Recorder, Upstream, Reply, Connector};
/// use tollgate_core::Event;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let dials = Recorder::new(|event| matches!(event, Event::ConnectStarted { .. }).then_some(()));
/// let upstream = Upstream::start(|_| Reply::ok("ok")).await;
/// let client = tollgate::Client::builder()
///     .connector(Connector::memory(&upstream))
///     .observer(dials.clone())
///     .build()?;
/// client.get("http://any.name/").await?;
/// assert_eq!(dials.count(), 1);
/// # Ok(()) }
/// ```
pub struct Recorder<T> {
    pick: Box<Pick<T>>,
    record: Mutex<Vec<T>>,
}

type Pick<T> = dyn Fn(&Event<'_>) -> Option<T> + Send + Sync;

impl<T> Recorder<T> {
    /// Records what `pick` returns of each event. It is called outside the recorder's lock, so it may
    /// do what an observer may do.
    pub fn new(pick: impl Fn(&Event<'_>) -> Option<T> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            pick: Box::new(pick),
            record: Mutex::default(),
        })
    }

    /// Returns the record so far, and begins a new one.
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut self.lock())
    }

    /// Returns the record so far.
    pub fn seen(&self) -> Vec<T>
    where
        T: Clone,
    {
        self.lock().clone()
    }

    /// The number of values in the record.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        lock(&self.record)
    }
}

impl Recorder<Recorded> {
    /// Records every event of a pool in short.
    pub fn of_pool() -> Arc<Self> {
        Self::new(Recorded::of)
    }
}

impl<T: Send + 'static> Observer for Recorder<T> {
    fn on_event(&self, event: &Event<'_>) {
        if let Some(value) = (self.pick)(event) {
            self.lock().push(value);
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Recorder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recorder").field(&*self.lock()).finish()
    }
}

/// An event of a pool in short, without what it borrows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recorded {
    /// With the number of requests ahead.
    Queued(usize),
    /// With the wait, and true if the connection had served before.
    Granted(Duration, bool),
    /// With the wait.
    Refused(RefuseReason, Duration),
    /// With the time from grant to release.
    Released(Duration),
    /// With the number of the attempt.
    Retried(u32),
    /// A dial began.
    ConnectStarted,
    /// With the number of the connection.
    Opened(u64),
    /// A dial failed.
    ConnectFailed,
    /// With the number of the connection and of the requests it carried.
    Closed(u64, CloseReason, u64),
}

impl Recorded {
    /// The name of the event's variant.
    pub fn name(&self) -> String {
        let text = format!("{self:?}");
        text.split('(').next().unwrap_or_default().to_owned()
    }

    /// Returns an event in short, if it is one of a pool.
    pub fn of(event: &Event<'_>) -> Option<Self> {
        Some(match *event {
            Event::Queued { ahead, .. } => Self::Queued(ahead),
            Event::Granted { waited, reused, .. } => Self::Granted(waited, reused),
            Event::Refused { reason, waited, .. } => Self::Refused(reason, waited),
            Event::Released { held, .. } => Self::Released(held),
            Event::Retried { attempt, .. } => Self::Retried(attempt),
            Event::ConnectStarted { .. } => Self::ConnectStarted,
            Event::Opened { connection, .. } => Self::Opened(connection),
            Event::ConnectFailed { .. } => Self::ConnectFailed,
            Event::Closed {
                connection,
                reason,
                served,
                ..
            } => Self::Closed(connection, reason, served),
            _ => return None,
        })
    }
}
