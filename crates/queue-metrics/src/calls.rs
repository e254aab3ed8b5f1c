//! The durations of an origin's calls and the sizes of their bodies, by what OpenTelemetry tells them apart by.

use std::sync::OnceLock;
use std::time::Duration;

use http::{Method, StatusCode, Version};

use crate::histogram::Histogram;

/// The most kinds of call to an origin with a series of their own. Those beyond share two, one of
/// calls that succeeded and one of the others: a peer chooses the status, and must not choose how
/// many series there are.
const MAX_KINDS: usize = 48;

/// OpenTelemetry's word for a value beyond those that are known.
const OTHER: &str = "_OTHER";

/// A kind of call, with the words of its labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) method: &'static str,
    pub(crate) status: Option<StatusCode>,
    pub(crate) version: Option<&'static str>,
    /// The error, but for one that is the status itself.
    error: Option<&'static str>,
}

impl Kind {
    pub(crate) fn new(
        method: &Method,
        answer: Option<(StatusCode, Version)>,
        error: Option<&'static str>,
    ) -> Self {
        Self {
            method: known(method),
            status: answer.map(|(status, _)| status),
            version: answer.and_then(|(_, version)| number(version)),
            error,
        }
    }

    /// The value of `error.type`: for a client, a status of 400 and above is an error.
    pub(crate) fn error(&self) -> Option<&str> {
        let failed = |status: &StatusCode| status.is_client_error() || status.is_server_error();
        let status = self.status.as_ref().filter(|status| failed(status));
        // OpenTelemetry takes either for a call that has both; the word for the error is the
        // narrower.
        self.error.or_else(|| status.map(StatusCode::as_str))
    }

    fn folded(&self) -> Self {
        Self {
            method: OTHER,
            status: None,
            version: None,
            error: self.error().map(|_| OTHER),
        }
    }
}

/// The methods that OpenTelemetry knows; another could be a user's input.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => OTHER,
    }
}

fn number(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_09 => Some("0.9"),
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        Version::HTTP_3 => Some("3"),
        _ => None,
    }
}

type Slot = OnceLock<Box<(Kind, Histogram)>>;

/// A histogram for each kind, in the order in which the kinds were met: finding one that is there takes
/// neither a lock nor an allocation.
#[derive(Debug)]
pub(crate) struct Calls {
    slots: [Slot; MAX_KINDS + 2],
    empty: fn() -> Histogram,
}

/// The sizes of both bodies.
#[derive(Debug)]
pub(crate) struct Sizes {
    pub(crate) sent: Calls,
    pub(crate) received: Calls,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            sent: Calls::of_sizes(),
            received: Calls::of_sizes(),
        }
    }
}

impl Calls {
    pub(crate) const fn of_durations() -> Self {
        Self::new(Histogram::of_waits)
    }

    pub(crate) const fn of_sizes() -> Self {
        Self::new(Histogram::of_sizes)
    }

    const fn new(empty: fn() -> Histogram) -> Self {
        Self {
            slots: [const { OnceLock::new() }; MAX_KINDS + 2],
            empty,
        }
    }

    pub(crate) fn ended(&self, kind: Kind, elapsed: Duration) {
        if let Some(durations) = self.of(kind) {
            durations.record(elapsed);
        }
    }

    pub(crate) fn transferred(&self, kind: Kind, bytes: u64) {
        if let Some(sizes) = self.of(kind) {
            sizes.record_size(bytes);
        }
    }

    fn of(&self, kind: Kind) -> Option<&Histogram> {
        let (own, shared) = self.slots.split_at(MAX_KINDS);
        let folded = || find(shared, kind.folded(), self.empty);
        find(own, kind, self.empty).or_else(folded)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &(Kind, Histogram)> {
        self.slots
            .iter()
            .filter_map(OnceLock::get)
            .map(|entry| &**entry)
    }
}

/// The histogram of a kind, which takes the first slot that is free if it has none yet.
fn find(slots: &[Slot], kind: Kind, empty: fn() -> Histogram) -> Option<&Histogram> {
    let made = || Box::new((kind, empty()));
    // One by one, as the search asks: it ends at the kind's own slot, or at the one it has just
    // filled.
    let mut slots = slots.iter().map(|slot| slot.get_or_init(made));
    slots.find(|entry| entry.0 == kind).map(|entry| &entry.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16) -> Kind {
        let status = StatusCode::from_u16(status).unwrap();
        Kind::new(&Method::GET, Some((status, Version::HTTP_11)), None)
    }

    fn counts(calls: &Calls) -> Vec<(Kind, u64)> {
        let counted = |(kind, times): &(Kind, Histogram)| (*kind, times.distribution().count);
        calls.all().map(counted).collect()
    }

    #[test]
    fn calls_of_one_kind_share_a_histogram() {
        let calls = Calls::of_durations();
        for status in [200, 503, 200] {
            calls.ended(answered(status), Duration::from_millis(3));
        }
        assert_eq!(counts(&calls), [(answered(200), 2), (answered(503), 1)]);
    }

    #[test]
    fn statuses_that_a_peer_makes_up_fold() {
        let calls = Calls::of_durations();
        for status in 200..=999 {
            calls.ended(answered(status), Duration::from_millis(3));
        }
        let counts = counts(&calls);
        assert_eq!(counts.len(), MAX_KINDS + 2);
        let folded: Vec<_> = counts[MAX_KINDS..]
            .iter()
            .map(|(kind, n)| (kind.error(), *n))
            .collect();
        // 400 to 599 are errors, and all of them came too late for a series of their own.
        assert_eq!(folded, [(None, 552), (Some(OTHER), 200)]);
        assert_eq!(counts.iter().map(|(_, n)| n).sum::<u64>(), 800);
    }

    #[test]
    fn unknown_request_method_is_labelled_other() {
        let method = Method::from_bytes(b"GETT").unwrap();
        assert_eq!(Kind::new(&method, None, Some("dns")).method, OTHER);
    }

    #[test]
    fn a_status_of_an_error_is_its_type() {
        assert_eq!(answered(404).error(), Some("404"));
        assert_eq!(answered(304).error(), None);
        let failed = Kind::new(&Method::GET, None, Some("connect_refused"));
        assert_eq!(failed.error(), Some("connect_refused"));
    }
}
