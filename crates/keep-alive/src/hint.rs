//! What a response head says about the reuse of its connection.

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
    /// `None` if the head says that its response is the connection's last.
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

    /// How long the connection may idle, the margin taken off.
    pub(crate) fn idle_for(self) -> Option<Duration> {
        let secs = (self.idle_secs != UNSAID).then_some(self.idle_secs)?;
        Some(Duration::from_secs(secs.into()).saturating_sub(MARGIN))
    }

    /// How many more requests the server will take.
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

/// Whether the response is the connection's last by its form: from a peer too old for keep-alive, with
/// a body that the close ends, or with both a length and chunks, which another hop may read
/// differently (RFC 9112 section 6.1).
#[inline]
fn is_last<B: Body>(response: &Response<B>) -> bool {
    let headers = response.headers();
    // A body of known size is neither in chunks nor ended by the close; HTTP/2 frames them all.
    match response.version() {
        Version::HTTP_11 => {
            response.body().size_hint().exact().is_none()
                && headers.contains_key(TRANSFER_ENCODING) == headers.contains_key(CONTENT_LENGTH)
        }
        version => version < Version::HTTP_11,
    }
}

fn says_close(headers: &HeaderMap) -> bool {
    let is_close = |word: &str| word.trim().eq_ignore_ascii_case("close");
    let values = headers.get_all(CONNECTION).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(is_close))
}

#[cfg(test)]
mod tests {
    use super::*;

    type BoxBody = http_body_util::combinators::BoxBody<bytes::Bytes, std::convert::Infallible>;

    fn hint(text: &'static str) -> KeepAliveHint {
        KeepAliveHint::parse(&HeaderValue::from_static(text))
    }

    #[test]
    fn a_timeout_is_taken_with_a_margin_and_a_count_as_it_is() {
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
    fn a_length_beside_chunks_and_old_versions_and_a_body_without_an_end_are_the_last() {
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
    }

    #[test]
    fn close_is_found_among_the_words_of_all_connection_headers() {
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
