//! One origin of a client, with back-pressure.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use tollgate_core::{BoxError, Origin};
use tollgate_keep_alive::KeepAliveOrigin;
use tower_service::Service;

use crate::body::Body;
use crate::client::Shared;
use crate::error::Error;
use crate::future::{ResponseFuture, Whence};

/// One origin of a [`Client`](crate::Client), with back-pressure in `poll_ready`; made by
/// [`Client::origin`](crate::Client::origin).
///
/// Ready means that a connection is reserved for this very instance until it is called or dropped.
/// A ready instance that is kept without being called keeps a connection from others; a clone has
/// reserved nothing. Requests go to this origin whatever their URI says: its path is what counts.
///
/// `poll_ready` never fails; what went wrong is told by the call that follows.
pub struct OriginClient {
    service: KeepAliveOrigin,
    shared: Arc<Shared>,
}

impl OriginClient {
    pub(crate) const fn new(service: KeepAliveOrigin, shared: Arc<Shared>) -> Self {
        Self { service, shared }
    }

    /// The origin.
    pub fn origin(&self) -> &Origin {
        self.service.origin()
    }
}

impl Clone for OriginClient {
    /// A service for the same origin that has reserved nothing.
    fn clone(&self) -> Self {
        Self::new(self.service.clone(), Arc::clone(&self.shared))
    }
}

impl<B> Service<Request<B>> for OriginClient
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        <KeepAliveOrigin as Service<Request<B>>>::poll_ready(&mut self.service, cx)
            .map_err(Error::pool)
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        self.shared.watch();
        let whence = Whence::Origin(self.service.origin().clone());
        let limits = self.shared.limits().of_call(&request);
        ResponseFuture::new(self.service.call(request), whence, limits)
    }
}

impl fmt::Debug for OriginClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OriginClient").field(&self.service).finish()
    }
}
