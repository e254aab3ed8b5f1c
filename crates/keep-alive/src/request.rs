//! The request as it goes on the wire, and what is kept to send it again.

use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};

use crate::erased::ErasedBody;
use crate::no_retry::NoRetry;

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
    if request.method() == Method::CONNECT
        || (request.uri().authority() == origin.authority()
            && request.uri().scheme() == origin.scheme())
    {
        return;
    }
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = origin.scheme().cloned();
    parts.authority = origin.authority().cloned();
    parts
        .path_and_query
        .get_or_insert_with(|| PathAndQuery::from_static("/"));
    // All three are there, which is what can fail.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_else(|_| origin.clone());
}

/// Adds the `Host` that HTTP/1.1 requires, unless the caller set one.
pub(crate) fn put_host(request: &mut Request<ErasedBody>, host: &HeaderValue) {
    let headers = request.headers_mut();
    if headers.is_empty() || !headers.contains_key(HOST) {
        headers.insert(HOST, host.clone());
    }
    *request.version_mut() = Version::HTTP_11;
}

/// The head of a request that may be sent a second time.
///
/// Kept only for an empty body.
pub(crate) struct Replay {
    method: Method,
    path: PathAndQuery,
    /// `None` if there are none.
    headers: Option<HeaderMap>,
    extensions: http::Extensions,
}

impl Replay {
    /// A copy of a request that has its URI in origin form.
    #[inline]
    pub(crate) fn of(request: &Request<ErasedBody>) -> Option<Self> {
        if !request.body().is_empty() {
            return None;
        }
        let headers = request.headers();
        Some(Self {
            method: request.method().clone(),
            path: request.uri().path_and_query()?.clone(),
            headers: (!headers.is_empty()).then(|| headers.clone()),
            extensions: request.extensions().clone(),
        })
    }

    /// The same, for a request that is not in such haste.
    #[inline(never)]
    pub(crate) fn of_stream(request: &Request<ErasedBody>) -> Option<Self> {
        Self::of(request)
    }

    pub(crate) fn is_allowed(&self) -> bool {
        !NoRetry::is_in(&self.extensions)
    }

    /// Whether a second time does what once does (RFC 9110 section 9.2.2).
    pub(crate) fn is_idempotent(&self) -> bool {
        is_idempotent(&self.method)
    }

    pub(crate) fn into_request(self) -> Request<ErasedBody> {
        let mut request = Request::new(ErasedBody::EMPTY);
        *request.method_mut() = self.method;
        *request.uri_mut() = Uri::from(self.path);
        *request.headers_mut() = self.headers.unwrap_or_default();
        *request.extensions_mut() = self.extensions;
        request
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
