//! An observer that remembers what it was told.

use std::sync::Mutex;
use std::time::Duration;

use tollgate_core::{CloseReason, Event, Observer, RefuseReason};

/// An event, without what it borrows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Queued(usize),
    Granted(Duration, bool),
    Refused(RefuseReason, Duration),
    Released,
    Retried(u32),
    ConnectStarted,
    Opened(u64),
    ConnectFailed,
    Closed(u64, CloseReason, u64),
}

impl Told {
    pub fn name(&self) -> String {
        let text = format!("{self:?}");
        text.split('(').next().unwrap_or_default().to_owned()
    }
}

/// An observer that remembers.
#[derive(Default)]
pub struct Ears(Mutex<Vec<Told>>, Mutex<Vec<Duration>>);

impl Ears {
    pub fn take(&self) -> Vec<Told> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// How long each lease was held that has ended.
    pub fn held(&self) -> Vec<Duration> {
        self.1.lock().unwrap().clone()
    }
}

impl Observer for Ears {
    fn on_event(&self, event: &Event<'_>) {
        let told = match *event {
            Event::Queued { ahead, .. } => Told::Queued(ahead),
            Event::Granted { waited, reused, .. } => Told::Granted(waited, reused),
            Event::Refused { reason, waited, .. } => Told::Refused(reason, waited),
            Event::Released { held, .. } => {
                self.1.lock().unwrap().push(held);
                Told::Released
            }
            Event::Retried { attempt, .. } => Told::Retried(attempt),
            Event::ConnectStarted { .. } => Told::ConnectStarted,
            Event::Opened { connection, .. } => Told::Opened(connection),
            Event::ConnectFailed { .. } => Told::ConnectFailed,
            Event::Closed {
                connection,
                reason,
                served,
                ..
            } => Told::Closed(connection, reason, served),
            _ => return,
        };
        self.0.lock().unwrap().push(told);
    }
}
