//! The time that a request which is served leaves for the calls made on its behalf.

use std::task::{Context, Poll};
use std::time::Duration;

use http::header::HeaderName;
use http::{HeaderValue, Request};
use tokio::task::futures::TaskLocalFuture;
use tokio::time::Instant;
use tollgate_core::Limits;
use tower_layer::Layer;
use tower_service::Service;

use crate::grpc_timeout;

tokio::task_local! {
    /// The end of the request that this task serves.
    static ENDS_AT: Option<Instant>;
}

/// The header of a deadline in gRPC.
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Reads the time that each request which is served has, for calls made meanwhile through a service of
/// [`PassDeadlineLayer`]. Goes round a server's handlers.
///
/// It is that of `grpc-timeout`, or of a [`header`](Self::header) with milliseconds; of both, the shorter.
/// It counts from the call of this service, and holds in the task of the handler: tasks that it spawns have
/// none. The handler itself is not ended.
///
/// ```
/// use http::HeaderName;
/// use tollgate::{Client, InheritDeadlineLayer, PassDeadlineLayer};
/// use tower::ServiceBuilder;
///
/// # fn main() -> Result<(), tollgate::BuildError> {
/// let header = HeaderName::from_static("x-timeout-ms");
/// let served = InheritDeadlineLayer::new().header(header.clone()); // Router::new().layer(served)
/// let client = ServiceBuilder::new()
///     .layer(PassDeadlineLayer::new().header(header))
///     .service(Client::builder().build()?);
/// # drop((served, client));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct InheritDeadlineLayer {
    header: Option<HeaderName>,
}

impl InheritDeadlineLayer {
    /// Reads `grpc-timeout`.
    pub const fn new() -> Self {
        Self { header: None }
    }

    /// Reads this header too: a number of milliseconds.
    #[must_use]
    pub fn header(mut self, name: HeaderName) -> Self {
        self.header = Some(name);
        self
    }
}

impl<S> Layer<S> for InheritDeadlineLayer {
    type Service = InheritDeadline<S>;

    fn layer(&self, inner: S) -> InheritDeadline<S> {
        InheritDeadline {
            inner,
            header: self.header.clone(),
        }
    }
}

/// The service of [`InheritDeadlineLayer`].
#[derive(Clone, Debug)]
pub struct InheritDeadline<S> {
    inner: S,
    header: Option<HeaderName>,
}

impl<S, B> Service<Request<B>> for InheritDeadline<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = TaskLocalFuture<Option<Instant>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let headers = request.headers();
        let named = self.header.as_ref().and_then(|name| headers.get(name));
        // What cannot be read is no deadline, rather than one that has passed.
        let named = named.and_then(|value| value.to_str().ok()?.parse().ok());
        let left = [
            named.map(Duration::from_millis),
            grpc_timeout::read(headers),
        ];
        let left = left.into_iter().flatten().min();
        let ends_at = left.and_then(|left| Instant::now().checked_add(left));
        // The call itself may already call others.
        let inner = &mut self.inner;
        let future = ENDS_AT.sync_scope(ends_at, || inner.call(request));
        ENDS_AT.scope(ends_at, future)
    }
}

/// Gives each request the time that the request which is served meanwhile has left, as
/// [`Limits::ends_at`], and writes it into its header. Goes round a [`Client`](crate::Client).
///
/// The header is `grpc-timeout` for gRPC calls, and a [`header`](Self::header) for others. A deadline or a
/// header that the request has itself stays if it is shorter. Without a request that is served, or one
/// without a deadline, requests go through as they are.
#[derive(Clone, Debug, Default)]
pub struct PassDeadlineLayer {
    header: Option<HeaderName>,
}

impl PassDeadlineLayer {
    /// Writes `grpc-timeout`, of gRPC calls alone.
    pub const fn new() -> Self {
        Self { header: None }
    }

    /// Writes this header too: a number of milliseconds.
    #[must_use]
    pub fn header(mut self, name: HeaderName) -> Self {
        self.header = Some(name);
        self
    }
}

impl<S> Layer<S> for PassDeadlineLayer {
    type Service = PassDeadline<S>;

    fn layer(&self, inner: S) -> PassDeadline<S> {
        PassDeadline {
            inner,
            header: self.header.clone(),
        }
    }
}

/// The service of [`PassDeadlineLayer`].
#[derive(Clone, Debug)]
pub struct PassDeadline<S> {
    inner: S,
    header: Option<HeaderName>,
}

impl<S, B> Service<Request<B>> for PassDeadline<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if let Some(ends_at) = ENDS_AT.try_with(|at| *at).ok().flatten() {
            self.pass(&mut request, ends_at);
        }
        self.inner.call(request)
    }
}

impl<S> PassDeadline<S> {
    #[cold]
    fn pass<B>(&self, request: &mut Request<B>, ends_at: Instant) {
        let own = request.extensions().get::<Limits>();
        let own = own.copied().unwrap_or_default();
        let ends_at = own.ends_at.map_or(ends_at, |own| own.min(ends_at));
        request.extensions_mut().insert(own.ends_at(ends_at));
        let left = ends_at.saturating_duration_since(Instant::now());
        // The call's own limit as well: nothing waits for the answer after that.
        let left = own.timeout.map_or(left, |own| own.min(left));
        let headers = request.headers_mut();
        if grpc_timeout::is_call(headers) {
            let stated = grpc_timeout::read(headers);
            if stated.is_none_or(|stated| stated > left) {
                headers.insert(GRPC_TIMEOUT, grpc_timeout::write(left));
            }
        }
        if let Some(name) = &self.header {
            let stated = headers.get(name);
            let stated = stated.and_then(|value| value.to_str().ok()?.parse().ok());
            let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            if stated.is_none_or(|stated: u64| stated > left) {
                headers.insert(name.clone(), HeaderValue::from(left));
            }
        }
    }
}
