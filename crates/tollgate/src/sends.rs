//! The way of a request into a pool.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body::Body;
use tollgate_core::BoxError;
use tollgate_keep_alive::{KeepAlive, KeepAliveFuture, KeepAliveOrigin};
use tower_service::Service;

use crate::transfer::{Metered, Transfer};

/// A pool, or one origin of it, as a service for requests with any body.
pub(crate) trait Sends {
    fn send<B>(&mut self, request: Request<B>) -> KeepAliveFuture
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>;
}

impl Sends for KeepAlive {
    #[inline]
    fn send<B>(&mut self, request: Request<B>) -> KeepAliveFuture
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.call(request)
    }
}

impl Sends for KeepAliveOrigin {
    #[inline]
    fn send<B>(&mut self, request: Request<B>) -> KeepAliveFuture
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.call(request)
    }
}

/// Apart from the others, which it would cost a move of the request.
#[inline(never)]
pub(crate) fn send_metered<B, P>(
    pool: &mut P,
    request: Request<B>,
    transfer: &Arc<Transfer>,
) -> KeepAliveFuture
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    P: Sends,
{
    pool.send(request.map(|body| Metered::new(body, Arc::clone(transfer))))
}
