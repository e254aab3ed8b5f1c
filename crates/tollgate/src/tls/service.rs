//! TLS over a connector.

use std::fmt;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper::rt::{Read, Write};
use hyper_rustls::{
    DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector, MaybeHttpsStream,
    ResolveServerName,
};
use hyper_util::client::legacy::connect::Connection;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::time::Instant;
use tollgate_core::{BoxError, Phase, phase};
use tower_layer::Layer;
use tower_service::Service;

use crate::tls::error::TlsError;
use crate::tls::stream::TlsStream;

type Names = Arc<dyn ResolveServerName + Send + Sync>;

/// Puts TLS over a connector for `https`, and leaves `http` alone; made by
/// [`TlsOptions::layer`](crate::tls::TlsOptions::layer).
///
/// It goes below the connect timeout, so that the handshake is in its budget, and above the dialler.
#[derive(Clone)]
pub struct TlsLayer {
    config: Arc<ClientConfig>,
    names: Names,
}

impl TlsLayer {
    pub(crate) fn with_config(
        config: Arc<ClientConfig>,
        name: Option<ServerName<'static>>,
    ) -> Self {
        let names: Names = match name {
            Some(name) => Arc::new(FixedServerNameResolver::new(name)),
            None => Arc::new(DefaultServerNameResolver::default()),
        };
        Self { config, names }
    }
}

impl<C> Layer<C> for TlsLayer {
    type Service = Tls<C>;

    fn layer(&self, connector: C) -> Tls<C> {
        Tls {
            connector,
            layer: self.clone(),
        }
    }
}

impl fmt::Debug for TlsLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsLayer").finish_non_exhaustive()
    }
}

/// A connector that speaks TLS to `https` URIs. Made by [`TlsLayer`].
#[derive(Clone, Debug)]
pub struct Tls<C> {
    connector: C,
    layer: TlsLayer,
}

impl<C> Tls<C> {
    /// The connector.
    pub const fn get_ref(&self) -> &C {
        &self.connector
    }

    /// The connector, to change it.
    pub const fn get_mut(&mut self) -> &mut C {
        &mut self.connector
    }

    /// The connector, without TLS.
    pub fn into_inner(self) -> C {
        self.connector
    }
}

impl<C> Service<Uri> for Tls<C>
where
    C: Service<Uri>,
    C::Response: Read + Write + Connection + Unpin + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    type Response = TlsStream<C::Response>;
    type Error = BoxError;
    type Future = TlsFuture<C::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.connector.call(uri.clone());
        let layer = self.layer.clone();
        TlsFuture(Box::pin(async move {
            let io = connecting.await.map_err(Into::into)?;
            if uri.scheme_str() == Some("https") {
                layer.handshake(uri, io).await
            } else {
                Ok(TlsStream::new(MaybeHttpsStream::Http(io), None))
            }
        }))
    }
}

impl TlsLayer {
    async fn handshake<I>(self, uri: Uri, io: I) -> Result<TlsStream<I>, BoxError>
    where
        I: Read + Write + Connection + Unpin + Send + 'static,
    {
        phase::enter(Phase::Tls);
        let started = Instant::now();
        let host = uri.host().unwrap_or_default().to_owned();
        // Over a connection that is there already, so that whatever fails now is TLS.
        let mut https = HttpsConnector::new(Connected(Some(io)), self.config, true, self.names);
        match https.call(uri).await {
            Ok(stream) => Ok(TlsStream::new(stream, Some(started.elapsed()))),
            Err(error) => Err(Box::new(TlsError::new(&host, started.elapsed(), error))),
        }
    }
}

/// A connector that has connected.
struct Connected<I>(Option<I>);

impl<I> Service<Uri> for Connected<I> {
    type Response = I;
    type Error = BoxError;
    type Future = Ready<Result<I, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(self.0.take().ok_or_else(|| "connected once already".into()))
    }
}

/// A connect with its TLS handshake. Dropping it closes the connection.
#[must_use = "futures do nothing unless polled"]
pub struct TlsFuture<I>(Pin<Box<dyn Future<Output = Result<TlsStream<I>, BoxError>> + Send>>);

impl<I> Future for TlsFuture<I> {
    type Output = Result<TlsStream<I>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<I> fmt::Debug for TlsFuture<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsFuture").finish_non_exhaustive()
    }
}
