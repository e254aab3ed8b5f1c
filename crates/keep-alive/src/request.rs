//! The request as it goes on the wire, and what is kept to send it again.

use std::sync::Arc;

use http::header::HOST;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};

use crate::erased::ErasedBody;
use crate::no_retry::NoRetry;
use crate::upload::Upload;

/// Gives the request the URI form its destination expects (RFC 9112 section 3.2): origin form, and
/// authority form for CONNECT.
#[inline]
pub(crate) fn put_uri_in_wire_form(request: &mut Request<ErasedBody>) {
    if request.method() == Method::CONNECT {
        // hyper writes the authority alone; a path would be refused by every proxy.
        if let Some(authority) = request.uri().authority().cloned() {
            *request.uri_mut() = Uri::from(authority);
        }
    } else if request.uri().scheme().is_some() {
        let uri = std::mem::take(request.uri_mut());
        let path = uri.into_parts().path_and_query;
        *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    }
}

/// Gives the request the absolute URI from which HTTP/2 takes its pseudo-header fields, and the
/// version.
pub(crate) fn put_uri_of_streams(request: &mut Request<ErasedBody>, origin: &Uri) {
    *request.version_mut() = Version::HTTP_2;
    if request.method() == Method::CONNECT {
        return;
    }
    let named = take_host(request.headers_mut());
    if named.is_none()
        && request.uri().authority() == origin.authority()
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

/// A `Host` of the caller's own, which HTTP/2 says with `:authority` (RFC 9113 section 8.3.1).
fn take_host(headers: &mut HeaderMap) -> Option<Authority> {
    if headers.is_empty() {
        return None;
    }
    Authority::try_from(headers.remove(HOST)?.as_bytes()).ok()
}

/// Adds the `Host` that HTTP/1.1 requires, unless the caller set one.
pub(crate) fn put_host(request: &mut Request<ErasedBody>, host: &HeaderValue) {
    let headers = request.headers_mut();
    if headers.is_empty() || !headers.contains_key(HOST) {
        headers.insert(HOST, host.clone());
    }
    *request.version_mut() = Version::HTTP_11;
}

/// What it takes to send a request a second time.
pub(crate) struct Replay {
    method: Method,
    path: PathAndQuery,
    /// `None` if there are none.
    headers: Option<HeaderMap>,
    extensions: http::Extensions,
    /// `None` if it is empty.
    body: Option<Arc<Upload>>,
}

impl Replay {
    /// A copy of a request that has its URI in origin form and no body.
    #[inline]
    pub(crate) fn of(request: &Request<ErasedBody>) -> Option<Self> {
        if request.body().is_empty() {
            Self::with(request, None)
        } else {
            None
        }
    }

    /// A copy of a request for a stream, with what is kept of its body.
    #[inline(never)]
    pub(crate) fn of_stream(
        request: &Request<ErasedBody>,
        body: Option<Arc<Upload>>,
    ) -> Option<Self> {
        Self::with(request, body)
    }

    #[inline]
    fn with(request: &Request<ErasedBody>, body: Option<Arc<Upload>>) -> Option<Self> {
        let headers = request.headers();
        Some(Self {
            method: request.method().clone(),
            path: request.uri().path_and_query()?.clone(),
            headers: (!headers.is_empty()).then(|| headers.clone()),
            extensions: request.extensions().clone(),
            body,
        })
    }

    pub(crate) fn is_allowed(&self) -> bool {
        !NoRetry::is_in(&self.extensions)
    }

    /// Whether a second time does what once does (RFC 9110 section 9.2.2), and there is no body.
    pub(crate) fn is_idempotent(&self) -> bool {
        self.body.is_none() && is_idempotent(&self.method)
    }

    /// `None` if more of the body was sent than is kept.
    pub(crate) fn into_request(self) -> Option<Request<ErasedBody>> {
        let body = match self.body {
            Some(upload) => upload.reclaim()?,
            None => ErasedBody::EMPTY,
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.method;
        *request.uri_mut() = Uri::from(self.path);
        *request.headers_mut() = self.headers.unwrap_or_default();
        *request.extensions_mut() = self.extensions;
        Some(request)
    }
}

fn is_idempotent(method: &Method) -> bool {
    method.is_safe() || *method == Method::PUT || *method == Method::DELETE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_wire(method: Method, uri: &str) -> Request<ErasedBody> {
        let mut request = Request::new(ErasedBody::EMPTY);
        *request.method_mut() = method;
        *request.uri_mut() = uri.parse().unwrap();
        put_uri_in_wire_form(&mut request);
        put_host(&mut request, &HeaderValue::from_static("a.test"));
        request
    }

    #[test]
    fn an_absolute_uri_becomes_origin_form_with_a_host() {
        let request = on_wire(Method::GET, "http://user:pass@a.test:80/x?y=1");
        assert_eq!(request.uri(), "/x?y=1");
        assert_eq!(request.headers()[HOST], "a.test");
        assert_eq!(on_wire(Method::GET, "http://a.test").uri(), "/");
        assert_eq!(on_wire(Method::OPTIONS, "*").uri(), "*");
    }

    #[test]
    fn a_stream_has_an_absolute_uri_whatever_it_came_with() {
        let origin = Uri::from_static("https://a.test:8443/");
        for (uri, on_wire) in [
            ("/x?y=1", "https://a.test:8443/x?y=1"),
            ("https://A.test:8443/x", "https://A.test:8443/x"),
            ("https://user@a.test:8443", "https://a.test:8443/"),
        ] {
            let mut request = Request::new(ErasedBody::EMPTY);
            *request.uri_mut() = uri.parse().unwrap();
            put_uri_of_streams(&mut request, &origin);
            assert_eq!(request.uri().to_string(), on_wire);
        }
    }

    #[test]
    fn a_host_of_the_callers_own_is_the_authority_of_a_stream() {
        let origin = Uri::from_static("https://a.test/");
        let mut request = Request::new(ErasedBody::EMPTY);
        *request.uri_mut() = Uri::from_static("https://a.test/x");
        let other = HeaderValue::from_static("other.test");
        request.headers_mut().insert(HOST, other);
        put_uri_of_streams(&mut request, &origin);
        assert_eq!(request.uri().to_string(), "https://other.test/x");
        assert!(request.headers().is_empty());
    }

    #[test]
    fn connect_keeps_the_authority_alone() {
        assert_eq!(
            on_wire(Method::CONNECT, "http://b.test:443/").uri(),
            "b.test:443"
        );
        assert_eq!(on_wire(Method::CONNECT, "b.test:443").uri(), "b.test:443");
    }

    #[test]
    fn a_host_of_the_callers_own_is_left_alone() {
        let mut request = Request::new(ErasedBody::EMPTY);
        request
            .headers_mut()
            .insert(HOST, HeaderValue::from_static("other.test"));
        put_host(&mut request, &HeaderValue::from_static("a.test"));
        assert_eq!(request.headers()[HOST], "other.test");
    }

    #[test]
    fn only_an_idempotent_request_without_a_body_may_be_sent_twice() {
        let kept = |method, body| {
            let mut request = Request::new(body);
            *request.method_mut() = method;
            Replay::of(&request).is_some_and(|replay| replay.is_idempotent())
        };
        let full = || ErasedBody::new(http_body_util::Full::new(bytes::Bytes::from("x")));
        assert!(kept(Method::GET, ErasedBody::EMPTY));
        assert!(kept(Method::DELETE, ErasedBody::EMPTY));
        assert!(!kept(Method::POST, ErasedBody::EMPTY));
        assert!(!kept(Method::PATCH, ErasedBody::EMPTY));
        assert!(!kept(Method::PUT, full()));
    }
}
