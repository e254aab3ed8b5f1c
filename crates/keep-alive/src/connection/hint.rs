//! The hints of a response head about the reuse of its connection.

use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Response, Version};
use http_body::Body;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// A server that announces `timeout=5` may close at 5 s; a request must not be on its way then.
const MARGIN: Duration = Duration::from_secs(1);

/// A server's `Keep-Alive` header, in little space: every exchange carries one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeepAliveHint {
    idle_secs: u32,
    uses: u32,
}

/// The server did not say.
const UNSAID: u32 = u32::MAX;

impl Default for KeepAliveHint {
    fn default() -> Self {
        Self {
            idle_secs: UNSAID,
            uses: UNSAID,
        }
    }
}

impl KeepAliveHint {
    /// `None` if by the head its response is the connection's last.
    #[inline]
    pub(crate) fn of<B: Body>(response: &Response<B>) -> Option<Self> {
        // To hash a name that http has no constant for costs as much as to pass by a dozen that it has.
        const FEW: usize = 12;
        let headers = response.headers();
        let is_one = |name: &HeaderName| *name == CONNECTION || *name == KEEP_ALIVE;
        if is_last(response) {
            None
        } else if headers.len() <= FEW && !headers.keys().any(is_one) {
            Some(Self::default())
        } else {
            Self::read(headers)
        }
    }

    #[cold]
    fn read(headers: &HeaderMap) -> Option<Self> {
        let hint = || headers.get(KEEP_ALIVE).map(Self::parse);
        (!says_close(headers)).then(|| hint().unwrap_or_default())
    }

    /// Returns the time that the connection may idle, the margin taken off.
    pub(crate) fn idle_for(self) -> Option<Duration> {
        let secs = (self.idle_secs != UNSAID).then_some(self.idle_secs)?;
        Some(Duration::from_secs(secs.into()).saturating_sub(MARGIN))
    }

    /// Returns the number of more requests that the server will take.
    pub(crate) fn remaining_uses(self) -> Option<u64> {
        (self.uses != UNSAID).then_some(self.uses.into())
    }

    /// Reads `timeout=N` and `max=N`; whatever is not understood is as if it were not there, and so
    /// is more than 4 billion.
    #[cold]
    fn parse(value: &HeaderValue) -> Self {
        let mut hint = Self::default();
        for part in value.to_str().unwrap_or_default().split(',') {
            let Some((name, value)) = part.split_once('=') else {
                continue;
            };
            let Ok(value) = value.trim().trim_matches('"').parse::<u32>() else {
                continue;
            };
            match name.trim() {
                name if name.eq_ignore_ascii_case("timeout") => hint.idle_secs = value,
                name if name.eq_ignore_ascii_case("max") => hint.uses = value,
                _ => {}
            }
        }
        hint
    }
}

/// Returns true if the response is the connection's last by its form: with a body that the close
/// ends, with both a length and chunks, which another hop may read differently (RFC 9112 section
/// 6.1), or from an HTTP/1.0 peer that does not offer to keep the connection (section 9.3).
#[inline]
fn is_last<B: Body>(response: &Response<B>) -> bool {
    let headers = response.headers();
    // A body of known size is neither in chunks nor ended by the close; HTTP/2 frames them all.
    let is_sized = || response.body().size_hint().exact().is_some();
    match response.version() {
        Version::HTTP_11 => {
            !is_sized()
                && headers.contains_key(TRANSFER_ENCODING) == headers.contains_key(CONTENT_LENGTH)
        }
        Version::HTTP_10 => !(is_sized() && has_option(headers, "keep-alive")),
        version => version < Version::HTTP_10,
    }
}

fn says_close(headers: &HeaderMap) -> bool {
    has_option(headers, "close")
}

/// Returns true if one of the `Connection` headers has this option among its own.
fn has_option(headers: &HeaderMap, option: &str) -> bool {
    let is_it = |word: &str| word.trim().eq_ignore_ascii_case(option);
    let values = headers.get_all(CONNECTION).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(is_it))
}

#[cfg(test)]
mod tests {
    use super::*;

    type BoxBody = http_body_util::combinators::BoxBody<bytes::Bytes, std::convert::Infallible>;

    fn hint(text: &'static str) -> KeepAliveHint {
        KeepAliveHint::parse(&HeaderValue::from_static(text))
    }

    #[test]
    fn a_margin_shortens_timeout_but_not_max() {
        let both = hint("timeout=5, max=100");
        assert_eq!(both.idle_for(), Some(Duration::from_secs(4)));
        assert_eq!(both.remaining_uses(), Some(100));
        assert_eq!(
            hint("Timeout = \"2\"").idle_for(),
            Some(Duration::from_secs(1))
        );
    }

    #[test]
    fn zero_means_no_reuse_and_nonsense_means_nothing() {
        assert_eq!(hint("timeout=0").idle_for(), Some(Duration::ZERO));
        assert_eq!(hint("max=0").remaining_uses(), Some(0));
        for nonsense in ["timeout=-1", "timeout", "timeout=1e9", "max=", "soon", ""] {
            assert_eq!(hint(nonsense), KeepAliveHint::default(), "{nonsense}");
        }
    }

    #[test]
    fn ambiguous_framing_ends_the_keep_alive() {
        let response = |version, body: BoxBody, names: &[&'static str]| {
            let mut response = Response::new(body);
            *response.version_mut() = version;
            for name in names {
                response
                    .headers_mut()
                    .insert(*name, HeaderValue::from_static("2"));
            }
            is_last(&response)
        };
        let chunks = || {
            BoxBody::new(http_body_util::StreamBody::new(
                futures_util::stream::empty(),
            ))
        };
        let sized = || BoxBody::new(http_body_util::Full::new(bytes::Bytes::from("xx")));
        assert!(!response(Version::HTTP_11, sized(), &["content-length"]));
        assert!(!response(
            Version::HTTP_11,
            chunks(),
            &["transfer-encoding"]
        ));
        assert!(response(
            Version::HTTP_11,
            chunks(),
            &["content-length", "transfer-encoding"]
        ));
        assert!(response(Version::HTTP_11, chunks(), &[]));
        assert!(!response(Version::HTTP_2, chunks(), &[]));
        assert!(response(Version::HTTP_10, sized(), &["content-length"]));
        assert!(response(Version::HTTP_09, sized(), &["content-length"]));
    }

    #[test]
    fn http10_reuse_needs_keep_alive_and_a_length() {
        let is_kept = |options: &[&'static str], body: BoxBody| {
            let mut response = Response::new(body);
            *response.version_mut() = Version::HTTP_10;
            for option in options {
                let option = HeaderValue::from_static(option);
                response.headers_mut().append(CONNECTION, option);
            }
            KeepAliveHint::of(&response).is_some()
        };
        let sized = || BoxBody::new(http_body_util::Full::new(bytes::Bytes::from("xx")));
        let unsized_one = || {
            BoxBody::new(http_body_util::StreamBody::new(
                futures_util::stream::empty(),
            ))
        };
        assert!(is_kept(&["keep-alive"], sized()));
        assert!(is_kept(&["te", "Keep-Alive"], sized()));
        assert!(!is_kept(&["keep-alive"], unsized_one()));
        assert!(!is_kept(&["keep-alive, close"], sized()));
        assert!(!is_kept(&["te"], sized()));
        assert!(!is_kept(&[], sized()));
    }

    #[test]
    fn close_is_found_in_any_connection_header() {
        for (values, last) in [
            (&["close"][..], true),
            (&["te, Close"], true),
            (&["keep-alive", " close "], true),
            (&["keep-alive", "closed"], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONNECTION, HeaderValue::from_static(value));
            }
            assert_eq!(says_close(&headers), last, "{values:?}");
        }
    }
}
