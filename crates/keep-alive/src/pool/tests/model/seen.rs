//! The observer's events of each origin, counted.

use std::sync::Mutex;

use tollgate_core::{Event, Observer, Origin};

use super::ORIGINS;

/// The events of one origin.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) queued: usize,
    /// Granted and refused after a wait.
    pub(super) waits_over: usize,
    pub(super) granted: usize,
    pub(super) released: usize,
    pub(super) started: usize,
    pub(super) failed: usize,
    pub(super) opened: usize,
    pub(super) closed: usize,
    pub(super) limit: usize,
}

#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<[Counts; ORIGINS]>);

impl Seen {
    pub(super) fn of(&self, origin: usize) -> Counts {
        self.0.lock().unwrap()[origin]
    }

    fn count(&self, origin: &Origin, change: impl FnOnce(&mut Counts)) {
        let number: usize = origin.host().trim_end_matches(".test").parse().unwrap();
        change(&mut self.0.lock().unwrap()[number]);
    }
}

impl Observer for Seen {
    fn on_event(&self, event: &Event<'_>) {
        match *event {
            Event::Queued { origin, .. } => self.count(origin, |counts| counts.queued += 1),
            Event::Granted { origin, waited, .. } => self.count(origin, |counts| {
                counts.granted += 1;
                counts.waits_over += usize::from(!waited.is_zero());
            }),
            Event::Refused { origin, waited, .. } => self.count(origin, |counts| {
                counts.waits_over += usize::from(!waited.is_zero());
            }),
            Event::Released { origin, .. } => self.count(origin, |counts| counts.released += 1),
            Event::ConnectStarted { origin } => self.count(origin, |counts| counts.started += 1),
            Event::ConnectFailed { origin, .. } => self.count(origin, |counts| counts.failed += 1),
            Event::Opened { origin, .. } => self.count(origin, |counts| counts.opened += 1),
            Event::Closed { origin, .. } => self.count(origin, |counts| counts.closed += 1),
            Event::LimitChanged { origin, from, to } => self.count(origin, |counts| {
                assert_eq!(counts.limit, from, "the limit changes from what it was");
                counts.limit = to;
            }),
            _ => {}
        }
    }
}
