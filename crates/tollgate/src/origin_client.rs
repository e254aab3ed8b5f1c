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
use crate::future::{Destination, ResponseFuture};
use crate::long_lived::{self, Class};

/// One origin of a [`Client`](crate::Client), with back-pressure in `poll_ready`; made by
/// [`Client::origin`](crate::Client::origin).
///
/// Ready means that a connection is reserved for this very instance until it is called or dropped.
/// A ready instance that is kept without being called keeps a connection from others; a clone has
/// reserved nothing. Requests go to this origin whatever their URI: its path is what counts. The
/// exception is an `https` URI for an `http` origin, which is refused: it would go out in clear text.
///
/// `poll_ready` never fails; the call that follows returns the error.
///
/// A request whose exchange [lasts](crate::ClientBuilder::max_long_lived_per_origin) gives the reserved
/// connection back and goes out on one of those for such exchanges. `poll_ready` does not know the
/// request: it waits for a connection of the calls. Where that is too much, send it through the
/// [`Client`](crate::Client).
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

impl OriginClient {
    fn call_that_lasts<B>(
        &self,
        mut service: KeepAliveOrigin,
        destination: Destination,
        mut request: Request<B>,
    ) -> ResponseFuture
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        long_lived::without_end(&mut request);
        let class = Class::LongLived;
        self.shared.begin(destination, request, class, &mut service)
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
        let destination = Destination::Origin(self.service.origin().clone());
        if let Some(pool) = &self.shared.long_lived
            && long_lived::is_expected(&request)
        {
            // What is reserved is a connection for calls; under a cap on all connections its place may be
            // the one that this exchange needs.
            self.service = self.service.clone();
            return match pool.origin(self.service.origin()) {
                Ok(service) => self.call_that_lasts(service, destination, request),
                Err(error) => ResponseFuture::failed(Error::pool(error)),
            };
        }
        let (service, class) = (&mut self.service, Class::Call);
        self.shared.begin(destination, request, class, service)
    }
}

impl fmt::Debug for OriginClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OriginClient").field(&self.service).finish()
    }
}
