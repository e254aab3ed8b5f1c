//! TLS over a connector.

use std::fmt;
use std::future::{Future, Ready, poll_fn, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use http::uri::Scheme;
use hyper::rt::{Read, Write};
use hyper_rustls::{
    DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector, ResolveServerName,
};
use hyper_util::client::legacy::connect::Connection;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::time::Instant;
use tollgate_core::{BoxError, Origin, Phase, encrypted, phase};
use tower_layer::Layer;
use tower_service::Service;

use crate::tls::alpn::Alpn;
use crate::tls::error::TlsError;
use crate::tls::stream::TlsStream;

type Names = Arc<dyn ResolveServerName + Send + Sync>;

/// Puts TLS over a connector for `https`, and passes `http` through; made by
/// [`TlsOptions::layer`](crate::tls::TlsOptions::layer).
///
/// It goes below the connect timeout, so that the handshake is in its budget, and above the dialler.
#[derive(Clone)]
pub struct TlsLayer {
    config: Arc<ClientConfig>,
    alpn: Alpn,
    /// For a peer that requires HTTP/1.1; the sessions are the same.
    http1: Arc<ClientConfig>,
    names: Names,
}

impl TlsLayer {
    pub(crate) fn with_config(
        config: ClientConfig,
        alpn: Alpn,
        name: Option<ServerName<'static>>,
    ) -> Self {
        let mut http1 = config.clone();
        http1.alpn_protocols = Alpn::Http1.protocols();
        let names: Names = match name {
            Some(name) => Arc::new(FixedServerNameResolver::new(name)),
            None => Arc::new(DefaultServerNameResolver::default()),
        };
        Self {
            config: Arc::new(config),
            alpn,
            http1: Arc::new(http1),
            names,
        }
    }

    /// What is offered to the peer of this poll: HTTP/1.1 alone if the pool asks for that, unless only
    /// HTTP/2 may be offered.
    fn offer(&self) -> (Arc<ClientConfig>, Alpn) {
        if self.alpn == Alpn::Auto && phase::is_http1_asked_for() {
            (self.http1.clone(), Alpn::Http1)
        } else {
            (self.config.clone(), self.alpn)
        }
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
///
/// It asks the connector below for a connection that it will encrypt, which Tollgate's `Dial` heeds,
/// and its connections carry an [`Encrypted`](tollgate_core::Encrypted), for which Tollgate's pool
/// looks. Schemes other than `http` and `https` are refused.
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
        let layer = self.layer.clone();
        if uri.scheme_str() != Some("https") {
            // `HTTPS` in a URI made by hand is a scheme of its own, and not to be taken for `http`.
            let plain = uri.scheme() == Some(&Scheme::HTTP);
            let connecting = plain.then(|| self.connector.call(uri));
            return TlsFuture(Box::pin(async move {
                let connecting = connecting.ok_or("TLS goes over http and https only")?;
                let io = connecting.await.map_err(Into::into)?;
                Ok(TlsStream::plain(io))
            }));
        }
        // In the call and in each poll: a layer in between may call the dial only when it is
        // polled.
        let connecting = encrypted::scope(&uri, || self.connector.call(uri.clone()));
        TlsFuture(Box::pin(async move {
            let mut connecting = pin!(connecting);
            let connecting = poll_fn(|cx| encrypted::scope(&uri, || connecting.as_mut().poll(cx)));
            let io = connecting.await.map_err(Into::into)?;
            layer.handshake(uri, io).await
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
        let origin = Origin::from_uri(&uri);
        // Over a connection that is there already, so that whatever fails now is TLS.
        let (config, offered) = self.offer();
        let mut https = HttpsConnector::new(Connected(Some(io)), config, true, self.names);
        let stream = match https.call(uri).await {
            // A server that knows no ALPN ends the handshake well and agrees to nothing; HTTP/2
            // must not be spoken to it.
            Ok(stream) if offered != Alpn::Http2 || stream.connected().is_negotiated_h2() => stream,
            Ok(_) => {
                let error = TlsError::no_alpn(&host, started.elapsed(), offered);
                return Err(Box::new(error));
            }
            Err(error) => {
                let error = TlsError::new(&host, started.elapsed(), error, offered);
                return Err(Box::new(error));
            }
        };
        Ok(TlsStream::encrypted(stream, started.elapsed(), origin))
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
