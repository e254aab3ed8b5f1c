//! The clients under load, all behind one function.

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client as Legacy;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::sync::Semaphore;
use tollgate::ClientBuilder;

type BoxError = Box<dyn Error + Send + Sync>;
type Call = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// Sends a GET to the upstream and reads the answer to its end.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) name: &'static str,
    send: Arc<dyn Fn() -> Call + Send + Sync>,
}

/// The cause of a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    /// The caller's patience ran out.
    GaveUp,
    /// The client refused the call while it waited, before anything was sent.
    Refused,
    /// No local port was left (`EADDRNOTAVAIL`).
    NoPort,
    /// The connection closed or was reset.
    Closed,
    Other,
}

impl Failure {
    fn of(error: &(dyn Error + 'static)) -> Self {
        use io::ErrorKind::{AddrInUse, AddrNotAvailable, BrokenPipe, ConnectionReset};
        let mut io = None;
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<io::Error>() {
                io = Some(error.kind());
            }
            if let Some(error) = error.downcast_ref::<tollgate::Error>()
                && error.nothing_sent()
                && !error.is_connect()
            {
                return Self::Refused;
            }
            if error
                .downcast_ref::<hyper::Error>()
                .is_some_and(hyper::Error::is_incomplete_message)
            {
                return Self::Closed;
            }
            next = below(error);
        }
        match io {
            Some(AddrNotAvailable | AddrInUse) => Self::NoPort,
            Some(ConnectionReset | BrokenPipe) => Self::Closed,
            _ => Self::Other,
        }
    }
}

/// The next error down the chain; an `io::Error` that wraps another has it inside, not as source.
fn below<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let io = error.downcast_ref::<io::Error>();
    match io.and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

impl Client {
    fn new<F, E>(name: &'static str, send: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let send = move || -> Call {
            let call = send();
            Box::pin(async move { call.await.map_err(|error| Failure::of(&*error.into())) })
        };
        Self {
            name,
            send: Arc::new(send),
        }
    }

    pub(crate) fn send(&self) -> Call {
        (self.send)()
    }

    /// The same client, with calls that wait for a place among so many before they are sent.
    pub(crate) fn behind(self, name: &'static str, permits: usize) -> Self {
        let permits = Arc::new(Semaphore::new(permits));
        let send = move || -> Call {
            let (permits, inner) = (Arc::clone(&permits), self.clone());
            Box::pin(async move {
                let _permit = permits.acquire().await;
                inner.send().await
            })
        };
        Self {
            name,
            send: Arc::new(send),
        }
    }

    /// hyper-util's legacy client with its own defaults.
    pub(crate) fn hyper_util(uri: &Uri) -> Self {
        Self::legacy("hyper-util", uri, connector(), true)
    }

    /// A connection for every call, closed by the client: hyper-util's client, keeping none.
    pub(crate) fn per_request(uri: &Uri) -> Self {
        Self::legacy("connection per request", uri, connector(), false)
    }

    pub(crate) fn legacy<C>(name: &'static str, uri: &Uri, connector: C, keeps: bool) -> Self
    where
        C: Connect + Clone + Send + Sync + 'static,
    {
        let mut builder = Legacy::builder(TokioExecutor::new());
        if !keeps {
            builder.pool_max_idle_per_host(0);
        }
        let client: Legacy<C, Empty<Bytes>> = builder.build(connector);
        let uri = uri.clone();
        Self::new(name, move || {
            let call = client.get(uri.clone());
            async move {
                call.await?.into_body().collect().await?;
                Ok::<_, BoxError>(())
            }
        })
    }

    /// reqwest with its own defaults.
    pub(crate) fn reqwest(uri: &Uri) -> Self {
        // No proxy that the environment names comes between a client and loopback.
        let client = reqwest::Client::builder().no_proxy().build();
        let client = client.expect("without TLS there is nothing to fail");
        let uri = uri.to_string();
        Self::new("reqwest", move || {
            let call = client.get(&uri).send();
            async move { call.await?.bytes().await.map(drop) }
        })
    }

    pub(crate) fn tollgate(name: &'static str, uri: &Uri, options: ClientBuilder) -> Self {
        let client = options.build().expect("its options are constants that fit");
        let uri = uri.clone();
        Self::new(name, move || {
            let mut request = Request::new(Empty::<Bytes>::new());
            *request.uri_mut() = uri.clone();
            let call = client.request(request);
            async move { call.await?.into_body().collect().await.map(drop) }
        })
    }
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_classed_by_the_deepest_io_error() {
        let error = |kind: io::ErrorKind| io::Error::other(io::Error::from(kind));
        let class = |kind| Failure::of(&error(kind));
        assert_eq!(class(io::ErrorKind::AddrNotAvailable), Failure::NoPort);
        assert_eq!(class(io::ErrorKind::ConnectionReset), Failure::Closed);
        assert_eq!(class(io::ErrorKind::PermissionDenied), Failure::Other);
    }
}
