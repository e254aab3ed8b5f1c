//! The service.

use std::task::{Context, Poll};
use std::time::Duration;

use tollgate_core::BoxError;
use tower_service::Service;

use crate::future::ConnectTimeoutFuture;
use crate::layer::Limits;

/// A connector with a time budget; made by [`ConnectTimeoutLayer`](crate::ConnectTimeoutLayer).
///
/// It takes any request: an [`http::Uri`](https://docs.rs/http/latest/http/struct.Uri.html) under
/// hyper-util's client and tonic, a type without a name under reqwest.
#[derive(Clone, Debug)]
pub struct ConnectTimeout<S> {
    inner: S,
    limits: Limits,
}

impl<S> ConnectTimeout<S> {
    /// Allows `total` for each connect of `inner`, in all phases together.
    pub const fn new(inner: S, total: Duration) -> Self {
        Self::with_limits(inner, Limits::total(total))
    }

    pub(crate) const fn with_limits(inner: S, limits: Limits) -> Self {
        Self { inner, limits }
    }

    /// The connector.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The connector, to change it.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The connector, without the budget.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, Req> Service<Req> for ConnectTimeout<S>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ConnectTimeoutFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        ConnectTimeoutFuture::new(self.inner.call(request), self.limits)
    }
}
