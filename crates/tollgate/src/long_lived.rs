//! Exchanges that last: a pool of their own beside that of the calls.

use std::time::Duration;

use http::header::{ACCEPT, UPGRADE};
use http::{HeaderMap, Method, Request};
use tollgate_core::Limits;

/// Marks a request whose exchange lasts, as an extension of it: a long poll, a watch, an endless
/// download.
///
/// It counts for a client with
/// [`max_long_lived_per_origin`](crate::ClientBuilder::max_long_lived_per_origin). Requests that ask for
/// an upgrade, for a tunnel or for `text/event-stream` need no mark.
///
/// ```
/// let request = http::Request::get("http://billing.internal/v1/watch").extension(tollgate::LongLived);
/// # drop(request);
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "a mark")]
pub struct LongLived;

/// The pool that an exchange belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    Call,
    /// It is expected to last, and the client has a pool for that.
    LongLived,
}

/// Returns true if the exchange of this request is expected to last.
pub(crate) fn is_expected<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    request.method() == Method::CONNECT
        || headers.contains_key(UPGRADE)
        || asks_for_events(headers)
        || request.extensions().get::<LongLived>().is_some()
}

fn asks_for_events(headers: &HeaderMap) -> bool {
    const EVENTS: &[u8] = b"text/event-stream";
    headers.get_all(ACCEPT).iter().any(|value| {
        // Anywhere in the value: a list may name other types beside it, each with parameters.
        let mut windows = value.as_bytes().windows(EVENTS.len());
        windows.any(|window| window.eq_ignore_ascii_case(EVENTS))
    })
}

/// Takes the client's limits on whole exchanges and on silence off a request, but for its own.
pub(crate) fn without_end<B>(request: &mut Request<B>) {
    let own = request.extensions().get::<Limits>().copied();
    // What is too long for the clock is no limit.
    let endless = Limits::new()
        .timeout(Duration::MAX)
        .body_idle_timeout(Duration::MAX);
    let limits = own.unwrap_or_default().or(&endless);
    request.extensions_mut().insert(limits);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_for_what_lasts_are_known() {
        let plain = || Request::get("http://billing.internal/");
        let lasting = [
            Request::connect("billing.internal:443"),
            plain().header("upgrade", "websocket"),
            plain().header("accept", "text/html, Text/Event-Stream;q=0.9"),
            plain().extension(LongLived),
        ];
        for request in lasting {
            let request = request.body(()).unwrap();
            assert!(is_expected(&request), "{request:?}");
        }
        for request in [plain(), plain().header("accept", "text/html")] {
            assert!(!is_expected(&request.body(()).unwrap()));
        }
    }

    #[test]
    fn limits_of_the_request_itself_stay() {
        let own = Limits::new().timeout(Duration::from_secs(60));
        let mut request = Request::get("/").extension(own).body(()).unwrap();
        without_end(&mut request);
        let limits = request.extensions().get::<Limits>().unwrap();
        assert_eq!(limits.timeout, own.timeout);
        assert_eq!(limits.body_idle_timeout, Some(Duration::MAX));
    }
}
