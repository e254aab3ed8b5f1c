//! The client.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Empty;
use tollgate_cached_dns::DnsHandle;
use tollgate_core::{BoxError, Origin};
use tollgate_keep_alive::{KeepAlive, OriginDetail, OriginStats};
use tower_service::Service;

use crate::body::Body;
use crate::builder::ClientBuilder;
use crate::error::Error;
use crate::future::{Limits, ResponseFuture, Whence};
use crate::origin_client::OriginClient;
use crate::origin_override::OriginOverride;
use crate::retire::Retiring;
use crate::settings::Settings;
use crate::snapshot::Snapshot;

/// A client for any number of origins: a pool, a DNS cache, a dialler and TLS in one.
///
/// Clones share everything, and a clone costs two counts of references; an application has one
/// client, or one for each TLS identity. It is a [`Service`] that is always ready, since its queues,
/// one for each origin, are inside the call; [`origin`](Self::origin) gives back-pressure in
/// `poll_ready`.
///
/// When the last clone and the last call in progress are gone, idle connections are closed at once.
#[derive(Clone)]
pub struct Client {
    pool: KeepAlive,
    shared: Arc<Shared>,
}

/// What the clones of a client share beside the pool.
pub(crate) struct Shared {
    pub(crate) pool: KeepAlive,
    pub(crate) dns: Option<DnsHandle>,
    pub(crate) retiring: Retiring,
    limits: Limits,
}

impl Client {
    /// A client with the defaults.
    ///
    /// # Panics
    ///
    /// Never, with whatever features: where they trust no server, a request to `https` fails with
    /// [`ErrorKind::Tls`](crate::ErrorKind::Tls) and says what to change.
    pub fn new() -> Self {
        Self::builder().build().expect("the defaults make sense")
    }

    /// To set options.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    pub(crate) fn with_parts(pool: KeepAlive, dns: Option<DnsHandle>, settings: &Settings) -> Self {
        let shared = Shared {
            pool: pool.clone(),
            dns,
            retiring: Retiring::default(),
            limits: Limits::of(settings),
        };
        Self {
            pool,
            shared: Arc::new(shared),
        }
    }

    /// Sends a request; the same as calling the client as a [`Service`].
    ///
    /// # Errors
    ///
    /// [`Error`] says what, to where, after how long; [`guide::errors`](crate::guide::errors) lists
    /// them.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the queue, gives back what was granted, or closes the one
    /// connection that its request is on. A dial that it caused goes on and serves others.
    pub fn request<B>(&self, request: Request<B>) -> ResponseFuture
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.clone().call(request)
    }

    /// Sends a GET without a body.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request), and
    /// [`InvalidRequest`](crate::ErrorKind::InvalidRequest) if `uri` is none.
    pub fn get<U>(&self, uri: U) -> ResponseFuture
    where
        U: TryInto<Uri>,
        U::Error: Into<BoxError>,
    {
        match uri.try_into() {
            Ok(uri) => {
                let mut request = Request::new(Empty::<Bytes>::new());
                *request.uri_mut() = uri;
                self.request(request)
            }
            Err(error) => ResponseFuture::failed(Error::invalid_uri(error.into())),
        }
    }

    /// The state of one origin; `None` if the text is no origin or the client has not met it, which
    /// is also so a while after its last connection closed.
    pub fn stats(&self, origin: &str) -> Option<OriginStats> {
        self.pool.stats(&origin.parse().ok()?)
    }

    /// The state of one origin and of each of its connections, read at one moment; `None` as in
    /// [`stats`](Self::stats).
    pub fn detail(&self, origin: &str) -> Option<OriginDetail> {
        self.pool.detail(&origin.parse().ok()?)
    }

    /// The state of everything: origins and names. Cheap enough for once a second with a thousand
    /// origins; for what an origin's connections do, ask [`detail`](Self::detail).
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.pool, self.shared.dns.as_ref())
    }

    /// The DNS cache: to invalidate, refresh, prefetch and look. `None` with a connector of your
    /// own, which resolves names itself if at all.
    pub fn dns(&self) -> Option<&DnsHandle> {
        self.shared.dns.as_ref()
    }

    /// A service for one origin with back-pressure in `poll_ready`, for `LoadShed`, `Balance` and
    /// `Buffer` above it, and for requests that carry only a path, as tonic's do.
    ///
    /// # Errors
    ///
    /// [`InvalidRequest`](crate::ErrorKind::InvalidRequest) if `origin` is none.
    pub fn origin(&self, origin: &str) -> Result<OriginClient, Error> {
        self.shared.watch();
        let service = self.pool.origin(&parse(origin)?).map_err(Error::pool)?;
        Ok(OriginClient::new(service, Arc::clone(&self.shared)))
    }

    /// Opens connections to `origin` until `n` are open or opening, within the caps, and returns at
    /// once.
    ///
    /// # Errors
    ///
    /// If `origin` is none, or outside a tokio runtime.
    pub fn warm(&self, origin: &str, n: usize) -> Result<(), Error> {
        self.pool.warm(&parse(origin)?, n).map_err(Error::pool)?;
        self.shared.watch();
        Ok(())
    }

    /// Ends the client: refuses new requests and those that wait, closes idle connections, lets
    /// exchanges in progress finish for at most `limit`, then cuts those that remain. Returns how
    /// many it cut.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the client refusing, with nothing cut.
    pub async fn drain(&self, limit: Duration) -> usize {
        self.pool.drain(limit).await
    }

    /// Ends the client at once. Returns how many exchanges it cut.
    pub fn close(&self) -> usize {
        self.pool.close()
    }

    /// Closes every idle connection now. The client stays in use.
    pub fn close_idle(&self) {
        self.pool.close_idle();
    }
}

impl Shared {
    pub(crate) const fn limits(&self) -> Limits {
        self.limits
    }
}

fn parse(origin: &str) -> Result<Origin, Error> {
    origin
        .parse()
        .map_err(|error| Error::invalid_uri(Box::new(error)))
}

impl<B> Service<Request<B>> for Client
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Error;
    type Future = ResponseFuture;

    /// Always ready.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> ResponseFuture {
        self.shared.watch();
        OriginOverride::apply(&mut request);
        let whence = Whence::Uri(request.uri().clone());
        let limits = self.shared.limits.of_call(&request);
        ResponseFuture::new(self.pool.call(request), whence, limits)
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("pool", &self.pool)
            .field("dns", &self.shared.dns)
            .finish_non_exhaustive()
    }
}
