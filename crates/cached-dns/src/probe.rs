//! What the cache says at once.

use std::sync::Arc;

use crate::addrs::Addrs;
use crate::entry::Entry;
use crate::error::LookupError;

/// What the cache says to a lookup.
pub(crate) enum Probe {
    Done(Served),
    /// Ask the backend; if that fails, or takes too long, there is this.
    Ask {
        stale: Option<Arc<Entry>>,
    },
}

pub(crate) struct Served {
    pub(crate) result: Result<Addrs, LookupError>,
    /// The result as an event says it.
    pub(crate) event: Option<&'static str>,
    /// This caller is the one to start a refresh.
    pub(crate) refresh: bool,
}

impl Served {
    pub(crate) fn ok(addrs: Addrs, event: Option<&'static str>) -> Self {
        Self {
            result: Ok(addrs),
            event,
            refresh: false,
        }
    }

    /// Whether there is more to do than to give the result.
    pub(crate) fn wants_engine(&self) -> bool {
        self.refresh || matches!(&self.result, Ok(addrs) if addrs.awaited().is_some())
    }

    pub(crate) fn failed(error: LookupError, event: &'static str) -> Self {
        Self {
            result: Err(error),
            event: Some(event),
            refresh: false,
        }
    }
}

impl Probe {
    /// What was refused before, and why.
    pub(crate) fn refusal(error: Option<&LookupError>) -> Self {
        match error {
            Some(error) => Self::Done(Served::failed(error.clone(), "negative")),
            None => Self::Ask { stale: None },
        }
    }
}
