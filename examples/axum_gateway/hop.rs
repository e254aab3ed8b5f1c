//! The headers that are forwarded, and those of the proxy itself (RFC 9110 section 7.6).

use std::net::IpAddr;

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, FORWARDED, HOST, HeaderName, HeaderValue,
    MAX_FORWARDS, TE, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::Body;

use crate::target;

/// The name of this gateway in `Via`.
const NAME: &str = "tollgate";
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The headers that are forwarded although `Connection` names them. A sender may not name what is
/// meant for all recipients, and one who does wants the upstream not to see what another proxy said
/// of him.
const NOT_TO_BE_NAMED: [HeaderName; 7] = [
    AUTHORIZATION,
    CONTENT_LENGTH,
    FORWARDED,
    HOST,
    MAX_FORWARDS,
    VIA,
    FORWARDED_FOR,
];

/// Makes a caller's headers the gateway's own. An error is the answer to a request that cannot be
/// passed on as what it is, or may go no further.
pub(crate) fn request<B: Body>(request: &mut Request<B>, peer: IpAddr) -> Result<(), StatusCode> {
    let host = target::host(request)?;
    count_down(request)?;
    let version = request.version();
    let sized = request.body().size_hint().exact().is_some();
    let headers = request.headers_mut();
    if is_coded(headers) {
        return Err(StatusCode::NOT_IMPLEMENTED);
    }
    let trailers = accepts_trailers(headers);
    remove_hop_by_hop(headers);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    if !sized {
        // hyper does so by itself but for a GET or HEAD, whose body it would leave out.
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    // The upstream is asked for under its own name, as nginx's `proxy_pass` does by default.
    headers.remove(HOST);
    headers.remove(FORWARDED_HOST);
    if let Some(host) = host {
        headers.insert(FORWARDED_HOST, host);
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    if let Ok(peer) = HeaderValue::try_from(peer.to_string()) {
        headers.append(FORWARDED_FOR, peer);
    }
    append_via(headers, version);
    Ok(())
}

/// Makes an upstream's headers the gateway's own. An error is the answer instead of one that cannot
/// be passed on as what it is.
pub(crate) fn response<B>(response: &mut Response<B>) -> Result<(), StatusCode> {
    let (status, version) = (response.status(), response.version());
    let headers = response.headers_mut();
    // `Upgrade` was not forwarded, so no other protocol was asked for.
    if status == StatusCode::SWITCHING_PROTOCOLS || is_coded(headers) {
        return Err(StatusCode::BAD_GATEWAY);
    }
    remove_hop_by_hop(headers);
    append_via(headers, version);
    Ok(())
}

/// Takes this hop off those that the request may still go (RFC 9110 section 7.6.2), or gives the
/// answer of the last one.
fn count_down<B>(request: &mut Request<B>) -> Result<(), StatusCode> {
    let last = match *request.method() {
        // Without `Allow`: which methods there are is the upstream's to say.
        Method::OPTIONS => StatusCode::NO_CONTENT,
        Method::TRACE => StatusCode::NOT_IMPLEMENTED,
        _ => return Ok(()),
    };
    let headers = request.headers_mut();
    let mut lines = headers.get_all(MAX_FORWARDS).iter();
    let Some(hops) = lines.next() else {
        return Ok(());
    };
    let hops = hops.to_str().unwrap_or_default();
    let digits = !hops.is_empty() && hops.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || lines.next().is_some() {
        return Err(StatusCode::BAD_REQUEST);
    }
    // What does not fit is more than any request goes.
    let left = hops.parse().unwrap_or(u64::MAX).checked_sub(1);
    headers.insert(MAX_FORWARDS, left.ok_or(last)?.into());
    Ok(())
}

/// Returns true if the body is in a transfer coding that hyper does not undo: any but `chunked`,
/// once. The header that names it ends here, so the body would be taken for what it is not.
fn is_coded(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(TRANSFER_ENCODING).iter();
    let plain = |line: &HeaderValue| line.as_bytes().eq_ignore_ascii_case(b"chunked");
    !lines.next().is_none_or(plain) || lines.next().is_some()
}

/// Removes the headers that concern one connection only, and those that `Connection` names (RFC
/// 9110 section
/// 7.6.1). hyper frames the message anew, so `Transfer-Encoding` goes too; `Content-Length` stays,
/// but not beside it, where it is not the body's (RFC 9112 section 6.3).
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    // First, since `Connection` may name the one and leave the other.
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    let named: Vec<HeaderName> = tokens(headers, &CONNECTION)
        .filter_map(|name| name.parse().ok())
        .filter(|name| !NOT_TO_BE_NAMED.contains(name))
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [CONNECTION, TE, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    for name in ["keep-alive", "proxy-connection"] {
        headers.remove(name);
    }
}

fn accepts_trailers(headers: &HeaderMap) -> bool {
    tokens(headers, &TE).any(|coding| coding.eq_ignore_ascii_case("trailers"))
}

/// The members of a list that may be spread over lines.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter();
    lines
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

fn append_via(headers: &mut HeaderMap, version: Version) {
    let version = match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    };
    if let Ok(via) = HeaderValue::try_from(format!("{version} {NAME}")) {
        headers.append(VIA, via);
    }
}
