//! A subscriber that keeps events, one a line.

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

/// Keeps the events of one target, or of all.
#[derive(Clone)]
pub(crate) struct Log {
    target: Option<&'static str>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Default for Log {
    /// Of all targets.
    fn default() -> Self {
        let log = || Self {
            target: None,
            lines: Arc::default(),
        };
        // One that every thread has: what a thread without one logs first is else taken for logged to
        // none, and then for all threads.
        let _set_once = tracing::subscriber::set_global_default(log());
        log()
    }
}

impl Log {
    pub(crate) fn of(target: &'static str) -> Self {
        Self {
            target: Some(target),
            ..Self::default()
        }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    pub(crate) fn with(&self, part: &str) -> Vec<String> {
        let mut lines = self.lines();
        lines.retain(|line| line.contains(part));
        lines
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.target.is_none_or(|target| target == metadata.target())
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(format!("{} ", event.metadata().level()));
        event.record(&mut line);
        self.lines.lock().unwrap().push(line.0);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}
