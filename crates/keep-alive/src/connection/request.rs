//! A request is prepared once, and written from that for each attempt.
//!
//! Prepared, it is in a form that no attempt changes in meaning: what its caller said of its host is in
//! a `Host` header or nowhere, its path in its URI, its length agrees with its body. For HTTP/1 and for
//! HTTP/2 it is written from that form, and what a connection gives back unsent is read back into it, so
//! that writing twice is the same as once for all pairs of protocols.

use std::error::Error;
use std::fmt;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};
use http_body::Body;
use tollgate_core::BoxError;

use crate::connection::erased::ErasedBody;

/// Refuses a request that cannot be sent as it is, before anything is sent; else returns the length that
/// its headers announce, which its body has, or is held to.
#[inline]
pub(crate) fn check<B: Body>(request: &mut Request<B>) -> Result<Option<u64>, Unsendable> {
    check_target(request.method(), request.uri())?;
    if request.headers().is_empty() {
        return Ok(None);
    }
    check_host(request.headers())?;
    let announced = announced_length(request.headers_mut())?;
    if let Some(announced) = announced {
        let ended = request.body().is_end_stream().then_some(0);
        let exact = ended.or_else(|| request.body().size_hint().exact());
        if let Some(got) = exact.filter(|exact| *exact != announced) {
            return Err(Unsendable::Length { announced, got });
        }
    }
    Ok(announced)
}

/// Prepares a request that was checked.
#[inline]
pub(crate) fn prepare<B>(request: Request<B>, announced: Option<u64>) -> Request<ErasedBody>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let request = request.map(|body| ErasedBody::new(body, announced));
    if announced.is_none() && expects_length(&request) {
        with_length_zero(request)
    } else {
        request
    }
}

/// A request whose content is defined to mean something, but has none: a server that waits for it, or
/// asks for a length (411), gets one (RFC 9110 section 8.6).
#[inline]
fn expects_length(request: &Request<ErasedBody>) -> bool {
    let method = request.method();
    request.body().is_empty()
        && (*method == Method::POST || *method == Method::PUT || *method == Method::PATCH)
}

#[cold]
fn with_length_zero(mut request: Request<ErasedBody>) -> Request<ErasedBody> {
    let zero = HeaderValue::from_static("0");
    request.headers_mut().insert(CONTENT_LENGTH, zero);
    request
}

/// The forms of a target that stand alone belong to CONNECT and OPTIONS (RFC 9112 section 3.2).
#[inline]
fn check_target(method: &Method, uri: &Uri) -> Result<(), Unsendable> {
    if *method == Method::CONNECT {
        return uri.authority().map(drop).ok_or(Unsendable::Target);
    }
    // A URI with a scheme has a path, as has one that is nothing but a path.
    if uri.scheme().is_none()
        && (uri.authority().is_some() || (uri.path() == "*" && *method != Method::OPTIONS))
    {
        return Err(Unsendable::Target);
    }
    Ok(())
}

/// A `Host` of the caller's own is one, and what an `:authority` can say.
#[inline]
fn check_host(headers: &HeaderMap) -> Result<(), Unsendable> {
    let Some(host) = headers.get(HOST) else {
        return Ok(());
    };
    let is_one = headers.get_all(HOST).iter().count() == 1;
    let authority = Authority::try_from(host.as_bytes());
    (is_one && authority.is_ok())
        .then_some(())
        .ok_or(Unsendable::Host)
}

/// The length that the headers announce. Beside a transfer coding it is not sent (RFC 9112 section 6.2).
#[inline]
fn announced_length(headers: &mut HeaderMap) -> Result<Option<u64>, Unsendable> {
    if !headers.contains_key(CONTENT_LENGTH) {
        return Ok(None);
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
        return Ok(None);
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter().map(length);
    let first = lengths.next().flatten();
    if first.is_none() || lengths.any(|other| other != first) {
        return Err(Unsendable::Lengths);
    }
    Ok(first)
}

fn length(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Writes a prepared request for an HTTP/1 connection: the URI in the form that its destination expects
/// (RFC 9112 section 3.2), and the `Host` that is required.
#[inline]
pub(crate) fn write_http1(request: &mut Request<ErasedBody>, host: &HeaderValue) {
    *request.version_mut() = Version::HTTP_11;
    if request.method() == Method::CONNECT {
        return write_connect(request);
    }
    if request.uri().scheme().is_some() {
        let uri = std::mem::take(request.uri_mut());
        let path = uri.into_parts().path_and_query;
        *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    }
    let headers = request.headers_mut();
    if headers.is_empty() || !headers.contains_key(HOST) {
        headers.insert(HOST, host.clone());
    }
    if !request.body().is_empty() {
        announce_chunks(request);
    }
}

/// hyper sends no body of unknown length with a GET or a HEAD unless a header announces one.
fn announce_chunks(request: &mut Request<ErasedBody>) {
    let rarely = matches!(*request.method(), Method::GET | Method::HEAD);
    let headers = request.headers();
    let is_announced =
        headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
    if rarely && !is_announced && request.body().size_hint().exact().is_none() {
        let chunked = HeaderValue::from_static("chunked");
        request.headers_mut().insert(TRANSFER_ENCODING, chunked);
    }
}

/// The authority alone, without a path, which every proxy would refuse, and without credentials; it is
/// the `Host` too (RFC 9112 section 3.2).
#[cold]
fn write_connect(request: &mut Request<ErasedBody>) {
    let Some(authority) = request.uri().authority() else {
        return;
    };
    let text = authority.as_str();
    let target = text.rsplit_once('@').map_or(text, |(_, target)| target);
    let authority = Authority::try_from(target).unwrap_or_else(|_| authority.clone());
    if !request.headers().contains_key(HOST)
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(HOST, host);
    }
    *request.uri_mut() = Uri::from(authority);
}

/// Writes a prepared request for a stream: the absolute URI from which HTTP/2 takes its pseudo-header
/// fields, and the version. A `Host` is said with `:authority` (RFC 9113 section 8.3.1).
pub(crate) fn write_http2(request: &mut Request<ErasedBody>, origin: &Uri) {
    *request.version_mut() = Version::HTTP_2;
    if request.method() == Method::CONNECT {
        return;
    }
    let named = take_host(request.headers_mut());
    if named.is_none()
        && has_authority_of(request.uri(), origin)
        && request.uri().scheme() == origin.scheme()
    {
        return;
    }
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = origin.scheme().cloned();
    parts.authority = named.or_else(|| origin.authority().cloned());
    parts
        .path_and_query
        .get_or_insert_with(|| PathAndQuery::from_static("/"));
    // All three are there, which is what can fail.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_else(|_| origin.clone());
}

/// Reads a request that was written for a stream back into its prepared form.
pub(crate) fn read_http2(request: &mut Request<ErasedBody>, origin: &Uri) {
    if request.method() == Method::CONNECT || request.uri().authority() == origin.authority() {
        return;
    }
    let named = request.uri().authority().map(Authority::as_str);
    if let Some(Ok(host)) = named.map(HeaderValue::from_str) {
        request.headers_mut().insert(HOST, host);
    }
}

/// As text first, which is quicker than without regard to capitals.
fn has_authority_of(uri: &Uri, origin: &Uri) -> bool {
    let (asked, own) = (uri.authority(), origin.authority());
    asked.map(Authority::as_str) == own.map(Authority::as_str) || asked == own
}

fn take_host(headers: &mut HeaderMap) -> Option<Authority> {
    if headers.is_empty() {
        return None;
    }
    Authority::try_from(headers.remove(HOST)?.as_bytes()).ok()
}

/// Why a request cannot be sent as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsendable {
    /// The body is known to be of another length than announced.
    Length { announced: u64, got: u64 },
    /// More than one length, or none that is a number.
    Lengths,
    /// More than one `Host`, or one that is none.
    Host,
    /// A form of the target that does not go with the method.
    Target,
}

impl fmt::Display for Unsendable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { announced, got } => write!(
                f,
                "its content-length is {announced}, and its body has {got} bytes; leave the header to the client, or \
                 make them agree"
            ),
            Self::Lengths => f.write_str(
                "its content-length is not one number; leave the header to the client, or set it once",
            ),
            Self::Host => f.write_str(
                "its Host is not one host with a port or without; leave the header to the client, or set it once",
            ),
            Self::Target => f.write_str(
                "its URI does not go with its method: CONNECT wants host and port, only OPTIONS takes `*`, all \
                 others take a path or an absolute URI",
            ),
        }
    }
}

impl Error for Unsendable {}

#[cfg(test)]
mod tests;
