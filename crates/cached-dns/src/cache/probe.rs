//! The cache's answer at once.

use std::sync::Arc;

use crate::addresses::addrs::Addrs;
use crate::entries::entry::Entry;
use crate::values::error::LookupError;

/// The cache's answer to a lookup.
pub(crate) enum Probe {
    Done(Served),
    /// Ask the backend; if that fails, or takes too long, there is this.
    Ask {
        stale: Option<Arc<Entry>>,
    },
}

pub(crate) struct Served {
    pub(crate) result: Result<Addrs, LookupError>,
    /// The result as an event has it.
    pub(crate) event: Option<&'static str>,
    /// This caller is the one to start a refresh.
    pub(crate) refresh: bool,
    /// The failure that keeps the backend from being asked: worth a look at what it rests on.
    pub(crate) doubt: Option<LookupError>,
}

impl Served {
    pub(crate) fn ok(addrs: Addrs, event: Option<&'static str>) -> Self {
        Self {
            result: Ok(addrs),
            event,
            refresh: false,
            doubt: None,
        }
    }

    /// Returns true if there is more to do than to give the result.
    pub(crate) fn wants_engine(&self) -> bool {
        self.refresh
            || self.doubt.is_some()
            || matches!(&self.result, Ok(addrs) if addrs.awaited().is_some())
    }

    pub(crate) fn failed(error: LookupError, event: &'static str) -> Self {
        Self {
            result: Err(error),
            event: Some(event),
            refresh: false,
            doubt: None,
        }
    }
}

impl Probe {
    /// Returns the probe of a refused lookup.
    pub(crate) fn refusal(error: Option<&LookupError>) -> Self {
        match error {
            Some(error) => Self::Done(Served {
                // It may rest on a file that has changed since: `finish` has that looked at.
                doubt: Some(error.clone()),
                ..Served::failed(error.clone(), "negative")
            }),
            None => Self::Ask { stale: None },
        }
    }
}
