//! What a request asks for, and under which name (RFC 9112 section 3.2).

use http::header::{HOST, HeaderValue};
use http::uri::Authority;
use http::{Method, Request, StatusCode, Uri, Version};

/// The path that was asked for, at the upstream; `*` stays what it is, and is for OPTIONS only.
/// `None` if no path was asked for, or the upstream cannot have it.
pub(crate) fn at<B>(upstream: &Uri, request: &Request<B>) -> Option<Uri> {
    let path = request.uri().path_and_query()?;
    if path == "*" && request.method() != Method::OPTIONS {
        return None;
    }
    let mut parts = upstream.clone().into_parts();
    parts.path_and_query = Some(path.clone());
    Uri::from_parts(parts).ok()
}

/// The name under which the caller asked: that of an absolute target, else `Host`.
///
/// HTTP/1.1 requires one `Host`, whatever the target. Where it is missing, doubled or no host, two
/// readers of the request may disagree on whom it is for.
pub(crate) fn host<B>(request: &Request<B>) -> Result<Option<HeaderValue>, StatusCode> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next();
    let missing = host.is_none() && request.version() == Version::HTTP_11;
    if missing || hosts.next().is_some() || !host.is_none_or(is_host) {
        return Err(StatusCode::BAD_REQUEST);
    }
    match request.uri().authority() {
        Some(authority) => {
            let name = without_user(authority);
            HeaderValue::from_str(name).map_or(Err(StatusCode::BAD_REQUEST), |name| Ok(Some(name)))
        }
        None => Ok(host.filter(|host| !host.is_empty()).cloned()),
    }
}

/// Empty if the caller's URI has no authority.
fn is_host(value: &HeaderValue) -> bool {
    let authority = || Authority::try_from(value.as_bytes());
    value.is_empty() || authority().is_ok_and(|host| without_user(&host) == host.as_str())
}

fn without_user(authority: &Authority) -> &str {
    let text = authority.as_str();
    text.rsplit_once('@').map_or(text, |(_, host)| host)
}
