//! The last failures of a client.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use tollgate_core::lock::lock;
use tollgate_core::{Event, Observer};

use crate::client::Client;
use crate::settings::Settings;

/// So many are kept.
const KEPT: usize = 32;
/// A message is cut off after so many characters.
const LONGEST: usize = 300;

/// A ring of the last failures, fed by events.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    /// Guards the ring alone.
    last: Mutex<VecDeque<Failure>>,
}

/// Failures of one kind at one place, in a row.
#[derive(Clone, Debug)]
struct Failure {
    at: Instant,
    place: String,
    text: String,
    times: u64,
}

/// A failure, as it is shown.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Shown {
    pub(super) ago: Duration,
    /// An origin, or a name.
    pub(super) place: String,
    pub(super) text: String,
    /// The number of times that in a row.
    pub(super) times: u64,
}

impl Failures {
    /// Has the failures of the client to be kept.
    pub(crate) fn keep(settings: &mut Settings) {
        let failures: Arc<Self> = Arc::default();
        settings.observe_too(&failures);
        settings.failures = failures;
    }

    fn push(&self, place: String, text: &str) {
        // Cut off and copied before the lock, which events of all origins take.
        let text: String = text.chars().take(LONGEST).collect();
        let at = Instant::now();
        let mut last = lock(&self.last);
        if let Some(same) = last.back_mut()
            && same.place == place
            && same.text == text
        {
            // One line for all in a row: an origin that is down would push the others out of the
            // ring.
            same.times += 1;
            same.at = at;
            return;
        }
        if last.len() == KEPT {
            last.pop_front();
        }
        last.push_back(Failure {
            at,
            place,
            text,
            times: 1,
        });
    }

    fn shown(&self) -> Vec<Shown> {
        let last = lock(&self.last);
        let shown = last.iter().rev().map(|failure| Shown {
            ago: failure.at.elapsed(),
            place: failure.place.clone(),
            text: failure.text.clone(),
            times: failure.times,
        });
        shown.collect()
    }
}

impl Observer for Failures {
    fn on_event(&self, event: &Event<'_>) {
        match event {
            Event::ConnectFailed { origin, error, .. } => {
                self.push(origin.to_string(), &error.to_string());
            }
            Event::Refused { origin, reason, .. } => {
                self.push(origin.to_string(), &format!("refused: {}", reason.label()));
            }
            Event::DnsLookup {
                name,
                error: Some(error),
                ..
            } => self.push((*name).to_owned(), &format!("lookup failed: {error}")),
            _ => {}
        }
    }
}

impl Client {
    /// The last failures, the newest first.
    pub(super) fn failures(&self) -> Vec<Shown> {
        self.shared().failures.shown()
    }
}
