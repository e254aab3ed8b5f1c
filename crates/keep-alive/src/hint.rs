//! What a response head says about the reuse of its connection.

use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Version};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// A server that announces `timeout=5` may close at 5 s; a request must not be on its way then.
const MARGIN: Duration = Duration::from_secs(1);

/// A server's `Keep-Alive` header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeepAliveHint {
    /// How long the connection may idle, the margin taken off.
    pub(crate) idle_for: Option<Duration>,
    /// How many more requests the server will take.
    pub(crate) remaining_uses: Option<u64>,
}

impl KeepAliveHint {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        headers
            .get(KEEP_ALIVE)
            .map_or_else(Self::default, Self::parse)
    }

    /// Reads `timeout=N` and `max=N`; whatever is not understood is as if it were not there.
    fn parse(value: &HeaderValue) -> Self {
        let mut hint = Self::default();
        for part in value.to_str().unwrap_or_default().split(',') {
            let Some((name, value)) = part.split_once('=') else {
                continue;
            };
            let Ok(value) = value.trim().trim_matches('"').parse::<u64>() else {
                continue;
            };
            match name.trim() {
                name if name.eq_ignore_ascii_case("timeout") => {
                    hint.idle_for = Some(Duration::from_secs(value).saturating_sub(MARGIN));
                }
                name if name.eq_ignore_ascii_case("max") => hint.remaining_uses = Some(value),
                _ => {}
            }
        }
        hint
    }
}

/// Whether the head rules reuse out: the peer says so, is too old for keep-alive, or sent both a
/// length and chunks, which another hop may read differently (RFC 9112 section 6.1).
pub(crate) fn forbids_reuse(version: Version, headers: &HeaderMap) -> bool {
    version < Version::HTTP_11
        || (headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH))
        || headers
            .get_all(CONNECTION)
            .iter()
            .any(|value| has_token(value, "close"))
}

fn has_token(value: &HeaderValue, token: &str) -> bool {
    let tokens = value.to_str().unwrap_or_default().split(',');
    tokens
        .map(str::trim)
        .any(|part| part.eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(text: &'static str) -> KeepAliveHint {
        KeepAliveHint::parse(&HeaderValue::from_static(text))
    }

    #[test]
    fn a_timeout_is_taken_with_a_margin_and_a_count_as_it_is() {
        let both = hint("timeout=5, max=100");
        assert_eq!(both.idle_for, Some(Duration::from_secs(4)));
        assert_eq!(both.remaining_uses, Some(100));
        assert_eq!(
            hint("Timeout = \"2\"").idle_for,
            Some(Duration::from_secs(1))
        );
    }

    #[test]
    fn zero_means_no_reuse_and_nonsense_means_nothing() {
        assert_eq!(hint("timeout=0").idle_for, Some(Duration::ZERO));
        assert_eq!(hint("max=0").remaining_uses, Some(0));
        for nonsense in ["timeout=-1", "timeout", "timeout=1e9", "max=", "soon", ""] {
            assert_eq!(hint(nonsense), KeepAliveHint::default(), "{nonsense}");
        }
    }

    #[test]
    fn a_length_beside_chunks_old_versions_and_close_forbid_reuse() {
        let head = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, HeaderValue::from_static(value));
            }
            forbids_reuse(Version::HTTP_11, &headers)
        };
        assert!(!head(&[("content-length", "2")]));
        assert!(!head(&[("connection", "keep-alive")]));
        assert!(head(&[
            ("content-length", "2"),
            ("transfer-encoding", "chunked")
        ]));
        assert!(head(&[("connection", "foo, Close")]));
        assert!(head(&[("connection", "foo"), ("connection", "close")]));
        assert!(forbids_reuse(Version::HTTP_10, &HeaderMap::new()));
    }
}
