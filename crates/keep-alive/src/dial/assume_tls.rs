//! Marks the connections of a TLS layer that does not mark them itself.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Uri;
use http::uri::Scheme;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use pin_project_lite::pin_project;
use tollgate_core::{Encrypted, Origin};
use tower_service::Service;

/// A connector whose connections for `https` URIs are taken to be TLS, unchecked.
///
/// The pool sends a request to an `https` origin only on a connection that states its encryption: by
/// an [`Encrypted`] among the extras of its [`Connected`], as Tollgate's TLS layer does, or by having
/// negotiated HTTP/2. The `HttpsConnector`s of hyper-rustls and hyper-tls state neither for HTTP/1.1;
/// this goes directly over them, below any tunnel.
///
/// Over a connector that does no TLS, `https` goes out in clear text.
///
/// ```
/// use hyper_util::client::legacy::connect::HttpConnector;
/// use tollgate_keep_alive::{AssumeTls, KeepAliveLayer};
/// use tower::Layer;
///
/// # fn https_connector() -> HttpConnector { HttpConnector::new() }
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// // Such as a hyper_rustls::HttpsConnector.
/// let pool = KeepAliveLayer::new().layer(AssumeTls::new(https_connector()));
/// # drop(pool);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AssumeTls<C> {
    connector: C,
}

impl<C> AssumeTls<C> {
    /// Takes `connector` at its word.
    pub const fn new(connector: C) -> Self {
        Self { connector }
    }

    /// The connector.
    pub const fn get_ref(&self) -> &C {
        &self.connector
    }

    /// The connector, to change it.
    pub const fn get_mut(&mut self) -> &mut C {
        &mut self.connector
    }

    /// The connector alone.
    pub fn into_inner(self) -> C {
        self.connector
    }
}

impl<C: Service<Uri>> Service<Uri> for AssumeTls<C> {
    type Response = AssumeTlsStream<C::Response>;
    type Error = C::Error;
    type Future = AssumeTlsFuture<C::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let https = uri.scheme() == Some(&Scheme::HTTPS);
        let origin = https.then(|| Origin::from_uri(&uri)).flatten();
        AssumeTlsFuture {
            connecting: self.connector.call(uri),
            encrypted: origin.map(Encrypted::to),
        }
    }
}

pin_project! {
    /// A connect of [`AssumeTls`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct AssumeTlsFuture<F> {
        #[pin]
        connecting: F,
        encrypted: Option<Encrypted>,
    }
}

impl<F, I, E> Future for AssumeTlsFuture<F>
where
    F: Future<Output = Result<I, E>>,
{
    type Output = Result<AssumeTlsStream<I>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let io = ready!(this.connecting.poll(cx))?;
        Poll::Ready(Ok(AssumeTlsStream {
            io,
            encrypted: this.encrypted.take(),
        }))
    }
}

/// A connection of [`AssumeTls`], which states that it is encrypted if its URI was `https`.
#[derive(Debug)]
pub struct AssumeTlsStream<I> {
    io: I,
    encrypted: Option<Encrypted>,
}

impl<I> AssumeTlsStream<I> {
    /// The connection.
    pub const fn get_ref(&self) -> &I {
        &self.io
    }
}

impl<I: Connection> Connection for AssumeTlsStream<I> {
    fn connected(&self) -> Connected {
        let connected = self.io.connected();
        match &self.encrypted {
            Some(encrypted) => connected.extra(encrypted.clone()),
            None => connected,
        }
    }
}

impl<I: Read + Unpin> Read for AssumeTlsStream<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<I: Write + Unpin> Write for AssumeTlsStream<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
