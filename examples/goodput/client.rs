//! The clients under load, all behind one function.

use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client as Legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Semaphore;
use tollgate::{Discipline, Http2Options, Limits, Protocol};
use tollgate_pool_limit::PoolLimitLayer;
use tower::{BoxError, Layer, ServiceExt};

use crate::load::Load;

pub(crate) type Call = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// Sends a GET and reads the answer to its end. The argument is the caller's limit, if it has one.
#[derive(Clone)]
pub(crate) struct Client(Arc<dyn Fn(Option<Duration>) -> Call + Send + Sync>);

/// The clients, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Reqwest,
    Semaphore,
    Fifo,
    Tollgate,
    TollgateTold,
    PoolLimit,
    PoolLimitTold,
}

impl Kind {
    pub(crate) const ALL: [Self; 7] = [
        Self::Reqwest,
        Self::Semaphore,
        Self::Fifo,
        Self::Tollgate,
        Self::TollgateTold,
        Self::PoolLimit,
        Self::PoolLimitTold,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Reqwest => "reqwest",
            Self::Semaphore => "hyper-util + semaphore",
            Self::Fifo => "Tollgate, order kept FIFO",
            Self::Tollgate => "Tollgate",
            Self::TollgateTold => "Tollgate, timeout told",
            Self::PoolLimit => "PoolLimit over reqwest",
            Self::PoolLimitTold => "PoolLimit, timeout told",
        }
    }

    /// Returns true if it is built with HTTP/2 here.
    pub(crate) const fn has_http2(self) -> bool {
        !matches!(self, Self::Reqwest | Self::PoolLimit | Self::PoolLimitTold)
    }

    pub(crate) fn client(self, uri: &Uri, load: &Load) -> Result<Client, BoxError> {
        match self {
            Self::Reqwest => reqwest(uri),
            Self::Semaphore => Ok(semaphore(uri, load)),
            Self::Fifo => tollgate(uri, load, Discipline::Fifo, false),
            Self::Tollgate => tollgate(uri, load, Discipline::Adaptive, false),
            Self::TollgateTold => tollgate(uri, load, Discipline::Adaptive, true),
            Self::PoolLimit => pool_limit(uri, load, false),
            Self::PoolLimitTold => pool_limit(uri, load, true),
        }
    }
}

impl Client {
    fn new<F>(send: impl Fn(Option<Duration>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        Self(Arc::new(move |limit| -> Call { Box::pin(send(limit)) }))
    }

    pub(crate) fn send(&self, limit: Option<Duration>) -> Call {
        (self.0)(limit)
    }
}

fn tollgate(
    uri: &Uri,
    load: &Load,
    discipline: Discipline,
    told: bool,
) -> Result<Client, BoxError> {
    let one = NonZeroUsize::MIN;
    let streams = one.saturating_add(load.cap.saturating_sub(1));
    let mut options = tollgate::Client::builder()
        .max_connections_per_origin(load.cap)
        .discipline(discipline);
    if load.http2 {
        let streams = Http2Options::new()
            .max_http2_connections(one)
            .max_streams_per_connection(streams);
        options = options.protocol(Protocol::Http2).http2(streams);
    }
    let client = options.build()?;
    let uri = uri.clone();
    Ok(Client::new(move |limit| {
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = uri.clone();
        if let Some(limit) = limit.filter(|_| told) {
            request
                .extensions_mut()
                .insert(Limits::new().timeout(limit));
        }
        let call = client.request(request);
        async move {
            call.await?.into_body().collect().await?;
            Ok(())
        }
    }))
}

fn reqwest_client() -> Result<reqwest::Client, BoxError> {
    // No proxy that the environment names comes between a client and loopback.
    let builder = reqwest::Client::builder().no_proxy();
    Ok(builder.build()?)
}

fn reqwest(uri: &Uri) -> Result<Client, BoxError> {
    let (client, uri) = (reqwest_client()?, uri.to_string());
    Ok(Client::new(move |_| {
        let call = client.get(&uri).send();
        async move {
            call.await?.bytes().await?;
            Ok(())
        }
    }))
}

fn pool_limit(uri: &Uri, load: &Load, told: bool) -> Result<Client, BoxError> {
    let layer = PoolLimitLayer::per_origin(load.cap)?;
    let client = layer.layer(reqwest_client()?);
    let uri = uri.to_string();
    Ok(Client::new(move |limit| {
        let client = client.clone();
        let request = uri.parse().map(|uri| {
            let mut request = reqwest::Request::new(reqwest::Method::GET, uri);
            *request.timeout_mut() = limit.filter(|_| told);
            request
        });
        async move {
            client.oneshot(request?).await?.bytes().await?;
            Ok(())
        }
    }))
}

fn semaphore(uri: &Uri, load: &Load) -> Client {
    let mut builder = Legacy::builder(TokioExecutor::new());
    builder.http2_only(load.http2);
    let client: Legacy<_, Empty<Bytes>> = builder.build(HttpConnector::new());
    let (permits, uri) = (Arc::new(Semaphore::new(load.cap)), uri.clone());
    Client::new(move |_| {
        let (permits, client, uri) = (permits.clone(), client.clone(), uri.clone());
        async move {
            let _permit = permits.acquire().await;
            client.get(uri).await?.into_body().collect().await?;
            Ok(())
        }
    })
}
