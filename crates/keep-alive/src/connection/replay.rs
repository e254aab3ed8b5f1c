//! What is kept of a request to send it again.

use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Uri};

use crate::connection::erased::ErasedBody;
use crate::connection::upload::Upload;
use crate::options::no_retry::NoRetry;

/// A copy of a prepared request, from which it can be written for another connection, whichever
/// version that speaks.
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
    /// A copy of a prepared request, unless it has a body or no path.
    #[inline]
    pub(crate) fn of(request: &Request<ErasedBody>) -> Option<Self> {
        if request.body().is_empty() {
            Self::without_body(request)
        } else {
            None
        }
    }

    /// A copy of a prepared request but for its body.
    #[inline]
    pub(crate) fn without_body(request: &Request<ErasedBody>) -> Option<Self> {
        let headers = request.headers();
        Some(Self {
            method: request.method().clone(),
            path: request.uri().path_and_query()?.clone(),
            headers: (!headers.is_empty()).then(|| headers.clone()),
            extensions: request.extensions().clone(),
            body: None,
        })
    }

    /// The copy with what is kept of the body.
    pub(crate) fn with_body(mut self, body: Option<Arc<Upload>>) -> Self {
        self.body = body;
        self
    }

    pub(crate) fn is_allowed(&self) -> bool {
        !NoRetry::is_in(&self.extensions)
    }

    /// Returns true if a second time does what once does (RFC 9110 section 9.2.2), and there is no
    /// body.
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

    #[test]
    fn only_an_idempotent_bodiless_request_may_be_replayed() {
        let kept = |method, body| {
            let mut request = Request::new(body);
            *request.method_mut() = method;
            Replay::of(&request).is_some_and(|replay| replay.is_idempotent())
        };
        let full = || ErasedBody::new(http_body_util::Full::new(bytes::Bytes::from("x")), None);
        assert!(kept(Method::GET, ErasedBody::EMPTY));
        assert!(kept(Method::DELETE, ErasedBody::EMPTY));
        assert!(!kept(Method::POST, ErasedBody::EMPTY));
        assert!(!kept(Method::PATCH, ErasedBody::EMPTY));
        assert!(!kept(Method::PUT, full()));
    }
}
