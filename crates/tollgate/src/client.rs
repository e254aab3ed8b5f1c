//! The client.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join;
use http::{Request, Response, Uri};
use http_body_util::Empty;
use tollgate_cached_dns::DnsHandle;
use tollgate_core::{BoxError, Origin};
use tollgate_keep_alive::{KeepAlive, OriginDetail, OriginStats};
use tower_service::Service;

use crate::assemble::Pools;
use crate::body::Body;
use crate::builder::ClientBuilder;
use crate::call_end::{CallEnd, Watcher};
use crate::error::Error;
use crate::exchanges::{Entry, Exchanges};
use crate::future::{Destination, ResponseFuture};
use crate::limits::Defaults;
use crate::long_lived::{self, Class};
use crate::origin_client::OriginClient;
use crate::origin_override::OriginOverride;
use crate::sends::{Sends, send_metered};
use crate::settings::{Observed, Settings};
use crate::snapshot::Snapshot;
use crate::task_flag::TaskFlag;

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
    // One for each clone, since a call needs `&mut`; what has `shared` alone uses the one in there.
    pool: KeepAlive,
    shared: Arc<Shared>,
}

/// The state that clones of a client share, besides the pool.
pub(crate) struct Shared {
    pub(crate) pool: KeepAlive,
    /// For exchanges that last; `None` where they share the other.
    pub(crate) long_lived: Option<KeepAlive>,
    pub(crate) dns: Option<DnsHandle>,
    /// A task watches the DNS cache.
    pub(crate) dns_watched: TaskFlag,
    limits: Defaults,
    exchanges: Option<Arc<Exchanges>>,
    observer: Option<Watcher>,
    long_lived_observer: Option<Watcher>,
    #[cfg(feature = "debug")]
    pub(crate) failures: Arc<crate::debug::Failures>,
}

impl Client {
    /// A client with the defaults.
    ///
    /// # Panics
    ///
    /// Never, with whatever features: where they trust no server, a request to `https` fails with
    /// [`ErrorKind::Tls`](crate::ErrorKind::Tls) and names the remedy.
    pub fn new() -> Self {
        Self::builder().build().expect("the defaults make sense")
    }

    /// To set options.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    #[cfg(feature = "debug")]
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn with_parts(pools: Pools, limits: Defaults, settings: &Settings) -> Self {
        let pool = pools.calls;
        let observer = settings.named.clone().map(|Observed(observer)| observer);
        let of_long_lived = settings.long_lived_named.clone();
        let shared = Shared {
            pool: pool.clone(),
            dns: pools.dns,
            dns_watched: TaskFlag::default(),
            limits,
            exchanges: settings.watched.table(&pool, pools.long_lived.as_ref()),
            long_lived: pools.long_lived,
            long_lived_observer: of_long_lived
                .map(|Observed(observer)| observer)
                .or_else(|| observer.clone())
                .map(Watcher::new),
            observer: observer.map(Watcher::new),
            #[cfg(feature = "debug")]
            failures: Arc::clone(&settings.failures),
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
    /// [`Error`] has what, to where, after how long; [`guide::errors`](crate::guide::errors) lists
    /// them.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the wait, gives back what was granted, or closes the one
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

    /// The state of one origin's connections for exchanges that last; `None` as in
    /// [`stats`](Self::stats), and where they have
    /// [none of their own](ClientBuilder::max_long_lived_per_origin).
    pub fn long_lived_stats(&self, origin: &str) -> Option<OriginStats> {
        let pool = self.shared.long_lived.as_ref()?;
        pool.stats(&origin.parse().ok()?)
    }

    /// The state of everything: origins and names. Cheap enough for once a second with a thousand
    /// origins; for what an origin's connections do, ask [`detail`](Self::detail).
    ///
    /// With the feature `sockets` it reads the kernel's tables too, and blocks meanwhile: for 0.2 ms
    /// where there are a few sockets, for 14 ms where there are 20,000. Then call it inside
    /// `spawn_blocking`.
    pub fn snapshot(&self) -> Snapshot {
        let long_lived = self.shared.long_lived.as_ref();
        Snapshot::of(&self.pool, long_lived, self.shared.dns.as_ref())
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
    /// After the future is dropped the client still refuses, with nothing cut.
    pub async fn drain(&self, limit: Duration) -> usize {
        match &self.shared.long_lived {
            None => self.pool.drain(limit).await,
            Some(other) => {
                // At once: one after the other, the second pool would take requests until the first
                // is empty, and both together would take twice the limit.
                let (calls, lasting) = join(self.pool.drain(limit), other.drain(limit)).await;
                calls + lasting
            }
        }
    }

    /// Ends the client at once. Returns how many exchanges it cut.
    pub fn close(&self) -> usize {
        let other = self.shared.long_lived.as_ref();
        self.pool.close() + other.map_or(0, KeepAlive::close)
    }

    /// Closes every idle connection now. The client stays in use.
    pub fn close_idle(&self) {
        self.pool.close_idle();
        if let Some(other) = &self.shared.long_lived {
            other.close_idle();
        }
    }
}

impl Shared {
    /// Takes an exchange into the table, if there is one.
    #[inline]
    fn enter<B>(
        &self,
        destination: &Destination,
        request: &Request<B>,
        class: Class,
    ) -> Option<Entry> {
        let exchanges = self.exchanges.as_ref()?;
        Some(exchanges.enter(destination.clone(), request.method().clone(), class))
    }

    #[cfg(feature = "debug")]
    pub(crate) fn exchanges(&self) -> Option<&Exchanges> {
        self.exchanges.as_deref()
    }

    /// Begins a call: the pool has the request after its limits were read.
    #[inline]
    pub(crate) fn begin<B, P>(
        &self,
        destination: Destination,
        mut request: Request<B>,
        class: Class,
        pool: &mut P,
    ) -> ResponseFuture
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
        P: Sends,
    {
        let limits = self.limits.of_call(&destination, &mut request);
        // Before it can have a connection: a holder that is not in the table hides a deadlock.
        let entry = self.enter(&destination, &request, class);
        let observer = match class {
            Class::Call => self.observer.as_ref(),
            Class::LongLived => self.long_lived_observer.as_ref(),
        };
        let end = observer.map(|observer| CallEnd::of(observer, request.method()));
        let call = match end.as_ref().and_then(CallEnd::transfer) {
            None => pool.send(request),
            Some(transfer) => send_metered(pool, request, transfer),
        };
        // After the pool's: of two clocks with one limit, the one that knows the queue strikes first.
        ResponseFuture::new(call, destination, limits.begin(), entry, end)
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
        // First: the limits that follow are those of the origin it goes to.
        OriginOverride::apply(&mut request);
        let destination = Destination::Uri(request.uri().clone());
        let shared = &self.shared;
        if let Some(pool) = &shared.long_lived
            && long_lived::is_expected(&request)
        {
            long_lived::without_end(&mut request);
            let (mut pool, class) = (pool.clone(), Class::LongLived);
            return shared.begin(destination, request, class, &mut pool);
        }
        let (pool, class) = (&mut self.pool, Class::Call);
        shared.begin(destination, request, class, pool)
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
