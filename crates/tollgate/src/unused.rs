//! Options of single origins that no connection ever had.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tollgate_core::{Event, Observer, Origin};

/// Watches the dials of a client for its [`origin`](crate::ClientBuilder::origin) options.
///
/// A dial to the same host by another scheme or port is reported at once, since that is the usual
/// mistake; what was never dialled is reported when the client is dropped.
#[derive(Debug)]
pub(crate) struct Unused(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    origin: Origin,
    used: AtomicBool,
    near: AtomicBool,
}

impl Unused {
    pub(crate) fn new(origins: impl IntoIterator<Item = Origin>) -> Self {
        let entries = origins.into_iter().map(|origin| Entry {
            origin,
            used: AtomicBool::new(false),
            near: AtomicBool::new(false),
        });
        Self(entries.collect())
    }
}

impl Observer for Unused {
    fn on_event(&self, event: &Event<'_>) {
        let Event::ConnectStarted { origin } = event else {
            return;
        };
        if let Some(entry) = self.0.iter().find(|entry| entry.origin == **origin) {
            entry.used.store(true, Relaxed);
            return;
        }
        let near = self
            .0
            .iter()
            .find(|entry| entry.origin.host() == origin.host());
        // An origin that is in use may well have neighbours on its host.
        if let Some(entry) = near
            && !entry.used.load(Relaxed)
            && !entry.near.swap(true, Relaxed)
        {
            tracing::warn!(
                target: "tollgate::pool",
                options = %entry.origin,
                %origin,
                "options of an origin do not apply: scheme and port must be those of the requests"
            );
        }
    }
}

impl Drop for Unused {
    fn drop(&mut self) {
        for entry in self.0.iter().filter(|entry| !entry.used.load(Relaxed)) {
            tracing::warn!(
                target: "tollgate::pool",
                options = %entry.origin,
                "options of an origin were never used: no request went there"
            );
        }
    }
}
